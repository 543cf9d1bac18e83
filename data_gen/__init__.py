"""Verified Darcy-flow data: random coefficients, finite differences, HDF5."""

from data_gen import storage
from data_gen.convert import convert
from data_gen.generate import generate
from data_gen.laws.random_fields import GaussianRandomField
from data_gen.problems.darcy.scheme import relative_residual
from data_gen.problems.darcy.solvers import solve
from data_gen.storage import open_dataset, read_info

__all__ = [
    "GaussianRandomField",
    "convert",
    "generate",
    "open_dataset",
    "read_info",
    "relative_residual",
    "solve",
    "storage",
]
