"""The table of images: one row per image, with its label and split."""
