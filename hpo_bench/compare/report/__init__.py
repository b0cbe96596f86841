"""The HTML report: one file that needs no network, with tables, interactive figures and every run's record."""
