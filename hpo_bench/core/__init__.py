"""The only place that trains: continued pretraining, adaptation to the task, checkpoints, device, cost meter, budget."""
