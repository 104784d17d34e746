"""The segment graph: which seeker segments are hired into which job segments."""
