"""Draw → solve: sample i depends on its recipe and i alone, and within the tolerance not on the device either."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.grid import Grid
from data_gen.problem import NotConverged, Problem, Solution
from data_gen.recipe import Recipe


def draw(problem: Problem, grid: Grid, seed: int, i: int) -> Float[np.ndarray, "inputs *shape"]:
    """The inputs of sample `i`, rounded to the float32 that is stored, as float64.

    Raises
    ------
    ValueError
        If the problem draws another shape, values that are not finite, or not positive where they must be.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))
    drawn = np.asarray(problem.draw(grid, rng, i))
    shape = (len(problem.inputs), *grid.shape)
    if drawn.shape != shape:
        raise ValueError(f"problem {problem.name!r} must draw an array of shape {shape}, got shape {drawn.shape}")
    stored = drawn.astype(np.float32).astype(np.float64)
    for field, values in zip(problem.inputs, stored, strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{field.name} {field.symbol} must be finite, got NaN or infinite values")
        if field.positive and not values.min() > 0:
            raise ValueError(f"{field.name} {field.symbol} must be positive, its minimum is {values.min():g}")
    return stored


def make_block(recipe: Recipe, first: int, count: int) -> storage.Block:
    """Draw and solve the samples ``first`` … ``first + count - 1``.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample whose inputs are unfit, or whose solve misses its tolerance.
    """
    problem, grid = recipe.problem, recipe.grid
    shapes = recipe.header().shapes
    nu = np.empty((count, len(problem.inputs), *grid.shape), np.float32)
    for k in range(count):
        with _named(first + k):
            nu[k] = draw(problem, grid, recipe.seed, first + k)
    ready: list[Solution | None] = [None] * count
    if recipe.device != "cpu":
        ready = problem.solve_batch(nu.astype(np.float64), grid, rtol=recipe.rtol, device=recipe.device)

    tensor = np.empty((count, *shapes["tensor"][1:]), np.float32)
    solutions = []
    for k in range(count):
        with _named(first + k):
            found = ready[k] or problem.solve(nu[k].astype(np.float64), grid, rtol=recipe.rtol)
            tensor[k] = _stored(problem, grid, found.u).reshape(tensor.shape[1:])
        solutions.append(found._replace(u=tensor[k]))
    return storage.Block(
        nu.reshape(count, *shapes["nu"][1:]),
        tensor,
        {
            "evidence": np.array([s.evidence for s in solutions]),
            "accepted_by": np.array([s.accepted_by.encode() for s in solutions]),
            "solver": np.array([s.method.encode() for s in solutions]),
        },
    )


def _stored(problem: Problem, grid: Grid, u: np.ndarray) -> np.ndarray:
    """The solution as it is stored, if it is one."""
    shape = (max(1, len(problem.times)), len(problem.outputs), *grid.shape)
    if u.shape != shape:
        raise ValueError(f"problem {problem.name!r} must solve for an array of shape {shape}, got shape {u.shape}")
    stored = u.astype(np.float32)
    if not np.isfinite(stored).all():
        raise ValueError(f"the solution of problem {problem.name!r} holds NaN or infinite values")
    return stored


@contextmanager
def _named(sample: int) -> Iterator[None]:
    try:
        yield
    except NotConverged as error:
        raise NotConverged(f"sample {sample}: {error}") from error
    except ValueError as error:
        raise ValueError(f"sample {sample}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError) as error:  # of a user's own
        raise ValueError(f"sample {sample}: {type(error).__name__}: {error}") from error
