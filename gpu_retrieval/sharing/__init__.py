"""What queries have in common: the parts of their filters, groups that draw the same jobs, and what that costs."""
