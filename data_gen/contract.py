"""The contract of a problem, as clauses that anyone can check on their own.

    for clause in contract(build_problem("mine.py:Mine")):
        print(clause)

========================= =====================================================================================
one seed, one function    the same inputs on every grid, and for another index others
evidence                  solutions are finite, meet the tolerance, and `check` finds nothing in what is stored
wrong value               `check` finds a value, a sign, a place or a time that is wrong
symmetries                each takes solutions to solutions
order                     solutions converge as fast as the problem says
========================= =====================================================================================

Every clause says what was measured; an exception inside one is that clause's failure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from data_gen.grid import Grid, Kind
from data_gen.problem import Problem, Solution, Symmetry
from data_gen.samples import draw

INTERVALS = 32
"""Along each axis, unless another resolution is asked for."""

SAMPLES = 3
SAMPLES_OF_ORDER = 8

ONE_FUNCTION = 1e-5
AT_A_JUMP = 5e-3
"""How far a value may differ between grids, relative to the largest, and in which share of the points it may anyhow."""

WRONG = 0.05
"""By how much a wrong value is wrong, relative to the largest."""

SYMMETRIC = 1e-6
SLOWER = 0.4
EXACT = 1e-10
"""Relative differences between grids below it are rounding, and have no order."""

ACCEPTED = ("rtol", "floor", "step")
WORDS = {True: "holds", False: "FAILS", None: "open "}


@dataclass(frozen=True)
class Clause:
    """One clause of the contract: its name, whether it holds (None where that cannot be tested), and what was seen."""

    name: str
    holds: bool | None
    detail: str

    def __str__(self) -> str:
        return f"{WORDS[self.holds]}  {self.name}: {self.detail}"


class Broken(AssertionError):
    """A clause does not hold."""


class Untestable(Exception):
    """A clause that the problem makes no claim about."""


def contract(problem: Problem, resolution: int | tuple[int, ...] | None = None) -> Iterator[Clause]:
    """Check a problem, clause by clause, with the samples of seed 0.

    Parameters
    ----------
    problem : Problem
    resolution : int or (n, m), optional
        Points along each axis of the coarsest grid; by default those of 32 intervals.

    Yields
    ------
    Clause

    Raises
    ------
    ValueError
        If there is no such grid.
    """
    grid = Grid(grid_of(problem.kind, resolution).shape, problem.kind, problem.lengths)
    clauses: list[tuple[str, Callable[[Problem, Grid], str]]] = [
        ("one seed, one function", one_function),
        ("evidence", evidence),
        ("wrong value", wrong_value),
        ("symmetries", symmetries),
        ("order", order),
    ]
    for name, clause in clauses:
        try:
            yield Clause(name, True, clause(problem, grid))
        except Untestable as reason:
            yield Clause(name, None, str(reason))
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            yield Clause(name, False, words if isinstance(error, Broken) else f"{type(error).__name__}: {words}")


def grid_of(kind: Kind, resolution: int | tuple[int, ...] | None = None) -> Grid:
    """The grid of that many points along both axes, or along each; by default of 32 intervals.

    Raises
    ------
    ValueError
        If there is no such grid.
    """
    if resolution is None:
        return Grid((1, 1) if kind != "vertices" else (2, 2), kind).refined(INTERVALS)
    return Grid((resolution, resolution) if isinstance(resolution, int) else resolution, kind)


def require(condition: bool, message: str) -> None:
    """Raise `Broken` unless `condition`."""
    if not condition:
        raise Broken(message)


def one_function(problem: Problem, grid: Grid) -> str:
    """A seed and an index are one function: drawn twice, and on a grid of half the spacing.

    That has the same values at the points that both have, or those that `restrict` makes of it.
    """
    finer = grid.refined()
    samples = [draw(problem, grid, 0, i) for i in range(SAMPLES)]
    largest, most = 0.0, 0
    for i, a in enumerate(samples):
        require(np.array_equal(draw(problem, grid, 0, i), a), f"sample {i} drawn twice gives two")
        there = draw(problem, finer, 0, i)
        scale = np.abs(a).max(tuple(range(1, a.ndim)), keepdims=True)
        brought = problem.restrict(there, finer, grid, "input"), Problem.restrict(problem, there, finer, grid, "input")
        differences = [np.abs(each - a) / np.where(scale > 0, scale, 1) for each in brought]
        difference = min(differences, key=lambda each: int((each > ONE_FUNCTION).sum()))
        apart = int((difference > ONE_FUNCTION).any(0).sum())
        require(
            apart <= AT_A_JUMP * grid.points,
            f"sample {i} on {grid} and on {finer} differs at {apart} of {grid.points} points, "
            f"by up to {difference.max():.1e} of its largest value",
        )
        most, largest = max(most, apart), max(largest, float(np.minimum(difference, ONE_FUNCTION).max()))
    same = [i + 1 for i, (a, b) in enumerate(pairwise(samples)) if np.array_equal(a, b)]
    require(not same, f"sample {', '.join(map(str, same))} is the one before it again")
    return f"{grid} and {finer} agree to {largest:.1e}" + (f", but for {most} points at a jump" if most else "")


def solved(problem: Problem, a: Float[np.ndarray, "inputs *shape"], grid: Grid) -> Solution:
    """A solution of the right shape.

    Raises
    ------
    Broken
        If it is of another, or accepted by nothing that is known.
    """
    found = problem.solve(a, grid)
    shape = (max(1, len(problem.times)), len(problem.outputs), *grid.shape)
    require(found.u.shape == shape, f"solve gives shape {found.u.shape}, not {shape} (times, outputs, grid)")
    require(found.accepted_by in ACCEPTED, f"accepted_by is {found.accepted_by!r}, not one of {', '.join(ACCEPTED)}")
    return found


def stored(u: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Values as they come back from a file, which holds float32."""
    return u.astype(np.float32).astype(np.float64)


def evidence(problem: Problem, grid: Grid) -> str:
    """Solutions are finite and meet the tolerance, or another criterion, and `check` finds nothing in them."""
    worst, accepted = 0.0, set[str]()
    for i in range(SAMPLES):
        a = draw(problem, grid, 0, i)
        found = solved(problem, a, grid)
        require(bool(np.isfinite(stored(found.u)).all()), f"sample {i}: the solution holds NaN or infinite values")
        require(
            bool(found.evidence <= problem.rtol if found.accepted_by == "rtol" else np.isfinite(found.evidence)),
            f"sample {i}: the evidence is {found.evidence:.1e}, rtol {problem.rtol:g}, accepted by {found.accepted_by}",
        )
        findings = list(problem.check(a, stored(found.u), grid, found.evidence, problem.rtol))
        require(not findings, f"sample {i}: check finds fault with a solution: {'; '.join(findings)}")
        worst, accepted = max(worst, found.evidence), accepted | {found.accepted_by}
    return f"up to {worst:.1e}, accepted by {', '.join(sorted(accepted))}; rtol is {problem.rtol:g}"


def wrong_value(problem: Problem, grid: Grid) -> str:
    """`check` finds each of the alterations.

    Raises
    ------
    Broken, Untestable
        If it does not; if there is nothing to alter.
    """
    a = draw(problem, grid, 0, 0)
    found = solved(problem, a, grid)
    u = stored(found.u)
    if not u.any():
        raise Untestable("the solution is zero everywhere")
    names, missed = [], []
    for name, altered in alterations(problem, u):
        if not np.array_equal(altered, u):
            names.append(name)
            if not any(problem.check(a, stored(altered), grid, found.evidence, problem.rtol)):
                missed.append(name)
    require(not missed, f"check does not find {', '.join(missed)}")
    return f"found: {', '.join(names)}"


def alterations(
    problem: Problem, u: Float[np.ndarray, "times outputs *shape"]
) -> Iterator[tuple[str, Float[np.ndarray, "times outputs *shape"]]]:
    """What is made of a solution to make it a wrong one: words, and the field."""
    rng = np.random.default_rng(0)
    for k, field in enumerate(problem.outputs):
        for t in {0, len(u) - 1}:
            point = tuple(int(rng.integers(1, n - 1)) for n in u.shape[2:])
            altered = u.copy()
            altered[(t, k, *point)] += WRONG * np.abs(u[:, k]).max()
            where = f" at time {problem.times[t]:g}" if len(u) > 1 else ""
            yield f"one value of the {field.name}{where} moved by {WRONG:.0%} of the largest", altered
    yield "the sign", -u
    for axis in range(2, u.ndim):
        yield f"a shift by one point along {'xyz'[axis - 2]}", np.roll(u, 1, axis)
    for t in range(len(u) - 1):
        swapped = u.copy()
        swapped[[t, t + 1]] = u[[t + 1, t]]
        yield f"the times {problem.times[t]:g} and {problem.times[t + 1]:g} swapped", swapped


def symmetries(problem: Problem, grid: Grid) -> str:
    """The image of a solution is the solution for the image of the inputs.

    Raises
    ------
    Broken, Untestable
        If it is not; if no symmetry is known.
    """
    maps = [each for each in problem.symmetries(grid) if not is_identity(each)]
    if not maps:
        raise Untestable("only the identity is known")
    a = draw(problem, grid, 0, 0)
    u, worst = solved(problem, a, grid).u, 0.0
    for each in maps:
        require(not any(each.shifts) or grid.kind == "periodic", f"{each} shifts along an axis that is not periodic")
        image = mapped(each, a, each.inputs)
        require(image.shape == a.shape, f"{each} takes {grid} to another grid")
        expected = mapped(each, u, each.outputs)
        difference = float(np.linalg.norm(solved(problem, image, grid).u - expected) / (np.linalg.norm(u) or 1))
        require(difference <= SYMMETRIC, f"{each} takes a solution {difference:.1e} away from one")
        worst = max(worst, difference)
    return f"{len(maps)} beside the identity, to {worst:.1e}"


def is_identity(symmetry: Symmetry) -> bool:
    """Whether it changes nothing."""
    moved = list(symmetry.axes) != sorted(symmetry.axes) or any(symmetry.flips) or any(symmetry.shifts)
    return not moved and -1 not in (*symmetry.inputs, *symmetry.outputs)


def mapped(
    symmetry: Symmetry, fields: Float[np.ndarray, "*times channels n m"], signs: tuple[int, ...]
) -> Float[np.ndarray, "*times channels k l"]:
    """The image of fields under a symmetry, each with its sign; () is +1."""
    *leading, channels, n, m = fields.shape
    image = np.stack([symmetry.apply(field) for field in fields.reshape(-1, n, m)])
    return image.reshape(*leading, channels, *image.shape[1:]) * np.reshape(signs or (1,) * channels, (-1, 1, 1))


def order(problem: Problem, grid: Grid) -> str:
    """Solutions on three grids, each of half the spacing, approach one another at the rate that the problem says.

    Raises
    ------
    Broken, Untestable
        If they do not; if the problem says nothing.
    """
    if problem.order is None:
        raise Untestable("the problem says nothing of its order")
    middle = grid.refined()
    fine = middle.refined()
    orders = []
    for i in range(SAMPLES_OF_ORDER):
        u, v, w = (solved(problem, draw(problem, each, 0, i), each).u for each in (grid, middle, fine))
        w = problem.restrict(w, fine, middle, "output")
        steps = problem.restrict(v, middle, grid, "output") - u, problem.restrict(w - v, middle, grid, "output")
        first, second = (float(np.linalg.norm(each) / (np.linalg.norm(u) or 1)) for each in steps)
        if first > EXACT:
            orders.append(np.log2(first / max(second, EXACT)))
    if not orders:
        return f"{grid} and {middle} agree to {EXACT:g}: the grid changes nothing"
    observed = float(np.mean(orders))
    detail = f"observed {observed:.2f} over {grid}, {middle}, {fine}; the problem says {problem.order:g}"
    require(observed >= problem.order - SLOWER, detail)
    return detail
