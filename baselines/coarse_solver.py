"""CoarseSolver: the classical competitor, the problem's own solver on the grid that a network is given.

A learned operator of the error of a coarse solve has learned no more than a coarse solve computes, and a coarse solve
takes milliseconds. `Upsampled(CoarseSolver(problem, grid), shape)` brings it to a finer grid.
"""

import hashlib
from dataclasses import fields, replace

import torch
from torch import Tensor

from data_gen import Grid, Problem
from pdebench_mano.fields.operator import Fields


class CoarseSolver:
    """Solves a problem on the grid of its inputs, for one input once: it is asked again at every finer resolution.

    Parameters
    ----------
    problem : Problem
    grid : Grid
        A grid of the box, of any shape: its kind and lengths are those of every grid to be solved on.
    rtol : float
        Tolerance to solve to.
    steps : int, optional
        Of a problem in time, of an equation that knows no time but by its state: inputs are a state, then the inputs
        that are no state, and solutions the states at the first so many of its times, stacked.
    """

    def __init__(self, problem: Problem, grid: Grid, rtol: float = 1e-6, steps: int | None = None) -> None:
        if steps is not None and any(field.name == "times" for field in fields(problem)):  # type: ignore[arg-type]
            problem = replace(problem, times=problem.times[:steps])  # type: ignore[type-var]
        self.problem, self.grid, self.lengths, self.rtol = problem, grid.kind, grid.lengths, rtol
        self.steps = steps
        self._solved: dict[str, Tensor] = {}

    def predict(self, a: Fields) -> Fields:
        """Solutions (batch, outputs, height, width), at the last of the problem's times, for inputs on the same grid.

        With `steps`, those at the first so many, (batch, steps · outputs, height, width).

        Inputs on a GPU are solved for there, in one batch; what does not converge there, on the CPU.

        Raises
        ------
        ValueError
            If the problem refuses an input.
        """
        names = [hashlib.sha256(each.tobytes()).hexdigest() for each in a.cpu().numpy()]
        new = [i for i, name in enumerate(names) if name not in self._solved]
        if new:
            self._solved |= zip((names[i] for i in new), self._solve(a[new]), strict=True)
        return torch.stack([self._solved[name] for name in names]).to(a)

    def _solve(self, a: Fields) -> list[Tensor]:
        grid = Grid((a.shape[-2], a.shape[-1]), self.grid, self.lengths)
        device = str(a.device)
        if self.steps is not None:
            return self._solve_in_time(a, grid, device)
        there = None if device == "cpu" else self.problem.on_device(grid, rtol=self.rtol, device=device)
        found = [torch.full((), torch.nan)] * len(a) if there is None else list(there(a).cpu())
        return [
            torch.from_numpy(self.problem.solve(inputs, grid, rtol=self.rtol).u[-1]) if u.isnan().any() else u
            for inputs, u in zip(a.double().cpu().numpy(), found, strict=True)
        ]

    def _solve_in_time(self, a: Fields, grid: Grid, device: str) -> list[Tensor]:
        device = device if self.problem.batches_on(device) else "cpu"
        given = states_first(self.problem)
        inputs = a[:, [given.index(field.name) for field in self.problem.inputs]].double().cpu().numpy()
        found = self.problem.solve_batch(inputs, grid, rtol=self.rtol, device=device)
        solved = [
            solution or self.problem.solve(each, grid, rtol=self.rtol)
            for each, solution in zip(inputs, found, strict=True)
        ]
        return [torch.from_numpy(solution.u[: self.steps]).flatten(0, 1) for solution in solved]


def states_first(problem: Problem) -> list[str]:
    """Names of what a state and the inputs that are no state are, in the order of their channels."""
    states = [field.name for field in problem.outputs]
    return states + [field.name for field in problem.inputs if field.name not in states]
