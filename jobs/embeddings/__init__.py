"""Job vectors learnt from behaviour chains: skip-gram with negatives over ids and terms."""
