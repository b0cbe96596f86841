"""One run: its configuration, its doing, and the command that makes it once more."""
