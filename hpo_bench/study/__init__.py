"""Studies: tasks × methods × seeds from a YAML file, run side by side, gone on with after a kill."""
