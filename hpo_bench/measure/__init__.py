"""Measurements on purpose, made of many runs: whether weighting matters, and how well estimators predict it."""
