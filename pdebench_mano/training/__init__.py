"""Training: one loop for every regime, and runs, which are folders that it goes on from."""
