"""Numbers: arrays in, estimates with intervals out; no file, no picture."""
