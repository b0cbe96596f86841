"""The only place that trains: pretraining, adaptation to the task, checkpoints, device, cost meter, budget."""
