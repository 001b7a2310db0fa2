"""From a folder, a CSV or drawn faces to batches of uint8 images."""
