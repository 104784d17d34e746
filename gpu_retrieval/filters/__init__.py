"""Filters applied: clauses as masks over stretches or lists of jobs, and what the loops check beside the scores."""
