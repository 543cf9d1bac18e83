"""Draw → solve: sample i depends on its recipe and i alone, and within the tolerance not on the device either."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.laws import Law, build_law
from data_gen.laws.stored import Stored
from data_gen.problems.darcy.scheme import check_coefficient
from data_gen.problems.darcy.solvers import NotConverged, Solution, solve_verified
from data_gen.recipe import Recipe

DEVICE_LOCK = threading.Lock()
"""One batch at a time: a GPU is shared by the threads of a process."""

POINTS_PER_BATCH = 2**24
"""What fits beside the solver's own fields on a GPU."""


@lru_cache(maxsize=4)
def _law(name: str, arguments: str) -> Law | Stored:
    return build_law(name, json.loads(arguments))


def coefficient(recipe: Recipe, i: int) -> Float[np.ndarray, "n m"]:
    """The coefficient of sample `i`, rounded to the float32 that is stored, as float64.

    Raises
    ------
    ValueError
        If the law gives another shape, or fails.
    """
    law = _law(recipe.law, json.dumps(recipe.law_args))
    rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=(i,)))
    try:
        a = law[i] if isinstance(law, Stored) else np.asarray(law(recipe.shape, rng))
    except ValueError:
        raise
    except Exception as error:  # of a law of the user's own
        raise ValueError(f"law {recipe.law!r}: {type(error).__name__}: {error}") from error
    if a.shape != recipe.shape:
        raise ValueError(f"law {recipe.law!r} must give an array of shape {recipe.shape}, got shape {a.shape}")
    return a.astype(np.float32).astype(np.float64)


def make_block(recipe: Recipe, first: int, count: int) -> storage.Block:
    """Draw and solve the samples ``first`` … ``first + count - 1``.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample whose coefficient is unfit, or whose solve misses its tolerance.
    """
    nu = np.empty((count, *recipe.shape), np.float32)
    for k in range(count):
        with _named(first + k):
            nu[k] = coefficient(recipe, first + k)
            check_coefficient(nu[k])
    ready = solve_on_device(recipe, nu) if recipe.device != "cpu" else {}

    tensor = np.empty((count, 1, *recipe.shape), np.float32)
    solutions = []
    for k in range(count):
        with _named(first + k):
            solutions.append(ready.get(k) or solve_sample(recipe, nu[k]))
        tensor[k, 0] = solutions[k].u
        solutions[k] = solutions[k]._replace(u=tensor[k, 0])
    return storage.Block(
        nu,
        tensor,
        {
            "relative_residual": np.array([s.residual for s in solutions]),
            "accepted_by": np.array([s.accepted_by.encode() for s in solutions]),
            "solver": np.array([s.method.encode() for s in solutions]),
        },
    )


@contextmanager
def _named(sample: int) -> Iterator[None]:
    try:
        yield
    except (NotConverged, ValueError) as error:
        raise type(error)(f"sample {sample}: {error}") from error


def solve_sample(recipe: Recipe, a: np.ndarray) -> Solution:
    """Solve for one coefficient (n, m) on the CPU."""
    return solve_verified(a, recipe.source, method=recipe.method, rtol=recipe.rtol, mean=recipe.mean)


def solve_on_device(recipe: Recipe, nu: np.ndarray) -> dict[int, Solution]:
    """Solve for coefficients (samples, n, m) on a GPU; what does not converge there is left out for `solve_sample`.

    Always in batches of one size, the last one filled up with ones: matrix products of other
    sizes may be summed in another order, and a sample must not depend on its company.
    """
    from data_gen.problems.darcy import gpu

    solutions = {}
    size = batch_size(recipe)
    for start in range(0, len(nu), size):
        a = np.ones((size, *recipe.shape), np.float32)
        count = len(nu[start : start + size])
        a[:count] = nu[start : start + size]
        with DEVICE_LOCK:
            batch = gpu.attempt(a, recipe.source, rtol=recipe.rtol, mean=recipe.mean, device=recipe.device)
            u = batch.u[:count].cpu().numpy()
        for k in range(count):
            if batch.accepted_by[k]:
                found = Solution(u[k], float(batch.residual[k]), "cg-gpu", batch.accepted_by[k], batch.iterations)
                solutions[start + k] = found
    return solutions


def batch_size(recipe: Recipe) -> int:
    """Samples that a GPU solves at once."""
    return min(4096, max(1, POINTS_PER_BATCH // (recipe.shape[0] * recipe.shape[1])))
