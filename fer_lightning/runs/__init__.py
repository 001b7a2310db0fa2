"""What a run folder holds: status, environment, settings, lock, results; finding and reading runs."""
