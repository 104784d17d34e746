"""Seekers' actions cut into behaviour chains: pure functions over tables."""
