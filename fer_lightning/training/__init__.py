"""Building the objects of a run, training, and scoring checkpoints."""
