"""The ways to answer a search, a file each; `choice` takes the one that costs least."""
