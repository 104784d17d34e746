"""What people read about a run: its report, and candidates with their reasons in words. No Spark session."""
