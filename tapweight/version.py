"""The library's own version: it may be released without hpo_bench."""

__version__ = "0.2.0"
