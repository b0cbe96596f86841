"""Handwritten digits: a task that is small enough to read, to run in seconds, and to start a task of one's own from."""
