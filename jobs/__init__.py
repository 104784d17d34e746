"""Shortlist's Spark jobs: one spark-submit entry a file; the algorithms in the packages beside them."""

__version__ = "0.1.0"
