"""What happens beside training: seeds, Ctrl-C, curves, and pictures for TensorBoard."""
