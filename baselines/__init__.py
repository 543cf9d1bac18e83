"""Baselines: one self-contained operator, or reference method, per file."""
