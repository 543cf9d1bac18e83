"""Draw → solve: sample i depends on its recipe and i alone, and within the tolerance not on the device either."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float, Float32

from data_gen import storage
from data_gen.grid import Grid
from data_gen.problem import FLOAT32, NotConverged, Problem, Solution, samples_at_once
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
    return check_inputs(problem, drawn).astype(np.float64)


def check_inputs(problem: Problem, inputs: Float[np.ndarray, "inputs *shape"]) -> Float32[np.ndarray, "inputs *shape"]:
    """Inputs as they are stored.

    Raises
    ------
    ValueError
        If float32 makes them values that are not finite, or not positive where they must be.
    """
    with np.errstate(over="ignore"):
        stored = inputs.astype(np.float32)
    for field, values in zip(problem.inputs, stored, strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{field.name} {field.symbol} must be finite, got NaN or infinite values")
        if field.positive and not values.min() > 0:
            raise ValueError(f"{field.name} {field.symbol} must be positive, its minimum is {values.min():g}")
    return stored


def make_block(recipe: Recipe, first: int, count: int) -> storage.Block:
    """Draw and solve the samples ``first`` … ``first + count - 1``, on a finer grid where the recipe says so.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample whose inputs are unfit, or whose solve misses its tolerance.
    """
    problem, fine = recipe.problem, recipe.solved_on
    nu = np.empty((count, len(problem.inputs), *recipe.grid.shape), np.float32)
    tensor = np.empty((count, max(1, len(problem.times)), len(problem.outputs), *recipe.grid.shape), np.float32)
    solutions: list[Solution] = []
    size = 1 if recipe.device == "cpu" else samples_at_once(fine)
    for start in range(0, count, size):
        numbers = range(first + start, first + min(start + size, count))
        drawn = draw_all(recipe, fine, numbers)
        for i, a, found in zip(numbers, drawn, solve_all(recipe, fine, numbers, drawn), strict=True):
            with _named(i):
                nu[i - first] = check_inputs(problem, brought_down(recipe, a, "input"))
                tensor[i - first] = check_stored(recipe, a, found)
            solutions.append(found._replace(u=tensor[i - first]))
    shapes = recipe.header().shapes
    return storage.Block(
        nu.reshape(count, *shapes["nu"][1:]),
        tensor.reshape(count, *shapes["tensor"][1:]),
        {
            "evidence": np.array([s.evidence for s in solutions]),
            "accepted_by": np.array([s.accepted_by.encode() for s in solutions]),
            "solver": np.array([s.method.encode() for s in solutions]),
        },
    )


def draw_all(recipe: Recipe, grid: Grid, numbers: Sequence[int]) -> Float[np.ndarray, "batch inputs *shape"]:
    """The inputs of some samples on a grid.

    Raises
    ------
    ValueError
        Naming the sample whose inputs are unfit.
    """
    drawn = np.empty((len(numbers), len(recipe.problem.inputs), *grid.shape))
    for k, i in enumerate(numbers):
        with _named(i):
            drawn[k] = draw(recipe.problem, grid, recipe.seed, i)
    return drawn


def solve_all(
    recipe: Recipe, grid: Grid, numbers: Sequence[int], a: Float[np.ndarray, "batch inputs *shape"]
) -> Iterator[Solution]:
    """Solutions for inputs on a grid, on the device of a recipe; what a GPU does not converge on, the CPU solves.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample whose inputs are unfit, or whose solve misses its tolerance.
    """
    problem = recipe.problem
    ready: list[Solution | None] = [None] * len(a)
    if recipe.device != "cpu":
        ready = problem.solve_batch(a, grid, rtol=recipe.rtol, device=recipe.device)
    for i, inputs, found in zip(numbers, a, ready, strict=True):
        with _named(i):
            solution = found or problem.solve(inputs, grid, rtol=recipe.rtol)
            shape = (max(1, len(problem.times)), len(problem.outputs), *grid.shape)
            if solution.u.shape != shape:
                got = solution.u.shape
                raise ValueError(f"problem {problem.name!r} must solve for an array of shape {shape}, got shape {got}")
        yield solution


def brought_down(recipe: Recipe, field: Float[np.ndarray, "*any"], what: str) -> np.ndarray:
    """Fields on the grid that labels are solved for on, brought to the one that is stored."""
    if recipe.solved_on == recipe.grid:
        return field
    return recipe.problem.restrict(field, recipe.solved_on, recipe.grid, what)


def check_stored(
    recipe: Recipe, a: Float[np.ndarray, "inputs *fine"], found: Solution
) -> Float32[np.ndarray, "times outputs *coarse"]:
    """A solution as it is stored, if it still is one: what was proved of it was proved in float64.

    Rounding to float32 changes a value by at most 2⁻²⁴ of itself, unless it is below 10⁻³⁸, the least that float32
    holds with all its digits. Where one is, the problem checks the stored field as `data_gen.verification` does, if it
    can without solving again; else no value may change by more than 2⁻²⁴ of the largest.

    Raises
    ------
    ValueError
        If it is not.
    """
    problem, u = recipe.problem, brought_down(recipe, found.u, "output")
    with np.errstate(over="ignore"):
        stored = u.astype(np.float32)
    if not np.isfinite(stored).all():
        raise ValueError(f"the solution of problem {problem.name!r} holds NaN or infinite values in float32")
    if not stored.any(axis=tuple(range(1, stored.ndim))).all():
        raise ValueError(f"the solution of problem {problem.name!r} is zero everywhere, and no error relative to it")
    changed = np.abs(stored - u)
    if (changed <= FLOAT32 * np.abs(u)).all():
        return stored
    if recipe.solved_on == recipe.grid and problem.residual(a, stored.astype(float), recipe.grid) is not None:
        wrong = next(iter(problem.check(a, stored.astype(float), recipe.grid, found.evidence, recipe.tolerance)), "")
    else:
        lost = changed.max() > FLOAT32 * np.abs(u).max()
        wrong = f"its largest value is {np.abs(u).max():.1e}" if lost else ""
    if wrong:
        raise ValueError(f"the solution of problem {problem.name!r} is too small for float32: {wrong}")
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
