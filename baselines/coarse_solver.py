"""CoarseSolver: the classical competitor, the problem's own solver on the grid that a network is given.

A learned operator of the error of a coarse solve has learned no more than a coarse solve computes, and a coarse solve
takes milliseconds. `Upsampled(CoarseSolver(problem, grid), shape)` brings it to a finer grid by cubic splines.
"""

import torch

from data_gen import Grid, Problem, Solution
from pdebench_mano.fields.operator import Fields


class CoarseSolver:
    """Solves a problem on the grid of its inputs.

    Parameters
    ----------
    problem : Problem
    grid : Grid
        A grid of the box, of any shape: its kind and lengths are those of every grid to be solved on.
    rtol : float
        Tolerance to solve to.
    """

    def __init__(self, problem: Problem, grid: Grid, rtol: float = 1e-6) -> None:
        self.problem, self.grid, self.lengths, self.rtol = problem, grid.kind, grid.lengths, rtol

    def predict(self, a: Fields) -> Fields:
        """Solutions (batch, outputs, height, width), at the last of the problem's times, for inputs on the same grid.

        Inputs on a GPU are solved for there, in one batch; what does not converge there, on the CPU.

        Raises
        ------
        ValueError
            If the problem refuses an input.
        """
        grid = Grid((a.shape[-2], a.shape[-1]), self.grid, self.lengths)
        inputs, device = a.double().cpu().numpy(), str(a.device)
        ready: list[Solution | None] = [None] * len(inputs)
        if device != "cpu" and self.problem.on_gpu:
            ready = self.problem.solve_batch(inputs, grid, rtol=self.rtol, device=device)
        pairs = zip(inputs, ready, strict=True)
        solutions = [found or self.problem.solve(each, grid, rtol=self.rtol) for each, found in pairs]
        return torch.stack([torch.from_numpy(found.u[-1]) for found in solutions]).to(a)
