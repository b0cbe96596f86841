"""One run: its configuration, its execution, and the command that repeats it."""
