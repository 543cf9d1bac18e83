"""The machine that computes: devices, processes, CUDA graphs, progress on a terminal, and what records say of it."""
