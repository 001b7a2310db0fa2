"""Many runs side by side: which is best, by how much, because of what; and what several know together."""
