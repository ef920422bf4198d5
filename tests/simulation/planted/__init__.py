"""Planted bugs: each replaces one piece of the product by what a plausible mistake would make it.

Law: a simulator that finds nothing proves nothing; whoever plants a bug here sees it found.
"""
