"""Many runs from one command: which there are, where each runs, what came of it, and how a broken sweep goes on."""
