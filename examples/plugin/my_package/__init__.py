"""A plug-in of hpo_bench: one method."""
