"""hpo_bench: methods that find objective weights for continued pretraining, compared on one core under one bill."""
