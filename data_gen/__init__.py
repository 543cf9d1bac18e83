"""Verified Darcy-flow data: random coefficients, finite differences, HDF5."""
