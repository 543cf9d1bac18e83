"""`contract` holds for every problem there is, and finds each way to break it that is tried here."""

import re

import numpy as np
import pytest

from data_gen import PROBLEMS, Field, Problem, Solution, Symmetry, build_problem, solve
from data_gen.contract import contract
from data_gen.problems.darcy import Darcy

CLAUSES = ["one seed, one function", "evidence", "wrong value", "symmetries", "order"]
ZERO_TO_ONE = (Field("temperature", "u"),)


class Plain(Problem):
    """-Δu = f, with nothing but `draw` and `solve`."""

    def draw(self, grid, rng, index):
        x, y = grid.mesh()
        return (rng.normal() + np.sin(rng.uniform(1, 4) * x + y))[None]

    def solve(self, a, grid, *, rtol=None):
        return Solution(solve(np.ones(grid.shape), a[0])[None, None], 1e-12, "rtol", "cg")


class Decay(Problem):
    """Every value decays by itself, and is taken at three times."""

    inputs = outputs = ZERO_TO_ONE
    kind = "periodic"
    times = (1.0, 2.0, 3.0)

    def draw(self, grid, rng, index):
        x, y = grid.mesh()
        return np.cos(2 * np.pi * (x + 2 * y) + rng.uniform(0, 6))[None]

    def solve(self, a, grid, *, rtol=None):
        return Solution(np.stack([a * np.exp(-t) for t in self.times]), 0.0, "step", "exact")

    def symmetries(self, grid):
        return [
            Symmetry((0, 1), (False, False), (0.5, 0.25)),
            Symmetry((0, 1), (True, False), inputs=(-1,), outputs=(-1,)),
        ]


def seen(problem, resolution=None):
    """What each clause says, by name."""
    return {clause.name: clause for clause in contract(problem, resolution)}


@pytest.mark.parametrize("resolution", [None, (33, 17)])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_keeps_the_contract(name, resolution):
    clauses = list(contract(build_problem(name), resolution))
    assert [clause.name for clause in clauses] == CLAUSES
    assert not [str(clause) for clause in clauses if clause.holds is False]


@pytest.mark.parametrize("law", ["lognormal", "inclusions", "channels"])
def test_every_law_keeps_it(law):
    assert all(clause.holds for clause in contract(build_problem("darcy", law=law)))


def test_draw_and_solve_are_enough():
    clauses = seen(Plain())
    assert [clause.holds for clause in clauses.values()] == [True, True, True, None, None]
    assert str(clauses["symmetries"]) == "open   symmetries: only the identity is known"


def test_a_problem_in_time_keeps_it():
    clauses = seen(Decay())
    assert [clause.holds for clause in clauses.values()] == [True, True, True, True, None]
    assert "the times 2 and 3 swapped" in clauses["wrong value"].detail
    assert "2 beside the identity" in clauses["symmetries"].detail


def broken(base, **methods):
    """A problem of which some methods are others."""
    return type("Broken", (base,), methods)()


def finds_but_the_order(self, a, u, grid, evidence, rtol):
    """A check that does not look at the times."""
    again = self.solve(a, grid).u
    if not np.allclose(np.sort(u, 0), np.sort(again, 0), atol=1e-5):
        yield "wrong"


def wrong_by_a_percent(self, a, grid, *, rtol=None):
    """A solution that claims to be one."""
    found = Darcy.solve(self, a, grid, rtol=rtol)
    return found._replace(u=1.01 * found.u)


def raises(self, a, grid, *, rtol=None):
    """A solver with a fault."""
    raise ZeroDivisionError("of two\nlines")


@pytest.mark.parametrize(
    ("problem", "clause", "words"),
    [
        (broken(Darcy, draw=lambda _, grid, rng, i: 1 + rng.random((1, *grid.shape))), CLAUSES[0], "differs at"),
        (broken(Darcy, draw=lambda _, grid, rng, i: np.ones((1, *grid.shape))), CLAUSES[0], "before it again"),
        (
            broken(
                Darcy, draw=lambda _, grid, rng, i: np.random.default_rng().uniform(1, 2) + np.ones((1, *grid.shape))
            ),
            CLAUSES[0],
            "drawn twice",
        ),
        (broken(Darcy, solve=wrong_by_a_percent), "evidence", "check finds fault"),
        (broken(Darcy, solve=raises), "evidence", "ZeroDivisionError: of two lines"),
        (broken(Plain, solve=lambda *_, **__: Solution(np.ones((1, 1, 3, 3)), 0.0, "rtol", "")), "evidence", "shape"),
        (
            broken(Decay, rtol=1e-3, solve=lambda s, a, g, rtol=None: Decay.solve(s, a, g)._replace(evidence=np.nan)),
            "evidence",
            "evidence is nan",
        ),
        (broken(Darcy, check=lambda *_: iter(())), "wrong value", "does not find one value .*, the sign, a shift"),
        (broken(Decay, check=finds_but_the_order), "wrong value", "does not find the times 1 and 2 swapped"),
        (broken(Darcy, symmetries=lambda *_: [Symmetry((0, 1), (False, False), outputs=(-1,))]), "symmetries", "away"),
        (broken(Plain, symmetries=lambda *_: [Symmetry((0, 1), (False, False), (0.5, 0))]), "symmetries", "periodic"),
        (broken(Plain, order=4.0), "order", "observed 2"),
    ],
)
def test_what_is_broken_is_found(problem, clause, words):
    found = seen(problem)[clause]
    assert found.holds is False
    assert str(found).startswith(f"FAILS  {clause}: ")
    assert "\n" not in found.detail
    assert re.search(words, found.detail), found.detail
