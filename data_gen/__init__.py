"""Verified Darcy-flow data: random coefficients, finite differences, HDF5."""

from data_gen.darcy import relative_residual
from data_gen.generate import generate
from data_gen.random_fields import GaussianRandomField
from data_gen.solvers import solve
from data_gen.storage import open_dataset, read_info

__all__ = ["GaussianRandomField", "generate", "open_dataset", "read_info", "relative_residual", "solve"]
