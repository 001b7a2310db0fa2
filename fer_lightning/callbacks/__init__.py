"""What happens beside training: seeds, Ctrl-C, progress, curves, checkpoints, and pictures for TensorBoard."""
