"""Methods: ways of finding objective weights, one file each, behind `ObjectiveWeightSearch`."""
