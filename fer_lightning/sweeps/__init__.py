"""Many runs from one command: grids and Optuna studies, their jobs, launchers, and how a sweep is resumed."""
