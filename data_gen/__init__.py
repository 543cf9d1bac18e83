"""Verified data: problems with random inputs, solved and stored with what speaks for every solution."""

import sys

if sys.platform == "win32":
    raise ImportError("data_gen needs Linux or macOS: on Windows, install it in WSL")

from data_gen import storage
from data_gen.convert import convert
from data_gen.generate import generate
from data_gen.grid import Grid
from data_gen.laws.random_fields import GaussianRandomField
from data_gen.problem import Field, NotConverged, Problem, Solution, Symmetry
from data_gen.problems import PROBLEMS, build_problem
from data_gen.problems.darcy.scheme import relative_residual
from data_gen.problems.darcy.solvers import solve
from data_gen.storage import open_dataset, read_info

__all__ = [
    "PROBLEMS",
    "Field",
    "GaussianRandomField",
    "Grid",
    "NotConverged",
    "Problem",
    "Solution",
    "Symmetry",
    "build_problem",
    "convert",
    "generate",
    "open_dataset",
    "read_info",
    "relative_residual",
    "solve",
    "storage",
]
