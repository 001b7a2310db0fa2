"""Compare runs: ranking, differences, importance of settings; and ensembles of several runs."""
