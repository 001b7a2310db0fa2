"""What the benchmark measures: contenders in processes of their own, windows in turn, and the rows that come of it."""
