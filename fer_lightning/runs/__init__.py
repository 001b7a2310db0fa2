"""What a run folder holds: status, environment, settings, lock; finding and reading runs."""
