"""Recall channels: the inventory they search, the queries they ask, and how their answers are blended."""
