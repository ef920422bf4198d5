"""Real processes that die, race and run out of disk, against a provider that keeps the truth."""
