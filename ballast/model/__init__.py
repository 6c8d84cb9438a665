"""Exact models: what the contracts compute, in Python integers, to the wei."""
