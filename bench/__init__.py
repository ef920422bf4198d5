"""Honest timings: everything is compared side by side in one run, and told as ratios."""
