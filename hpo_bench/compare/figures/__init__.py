"""Figures from records, each a function of one task (or of all) that returns a matplotlib figure."""
