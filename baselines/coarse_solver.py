"""CoarseSolver: the classical competitor, finite differences on the grid that a network is given.

A learned operator of the error of a coarse solve has learned no more than a coarse solve computes, and a coarse solve
takes milliseconds. `Upsampled(CoarseSolver(f), shape)` brings it to a finer grid by cubic splines.
"""

import torch

from data_gen import solve
from pdebench_mano.operator import Fields, Grid


class CoarseSolver:
    """Solves -∇·(a∇u) = f on the vertices of (0, 1)² with u = 0 on the boundary, by the five-point scheme.

    Parameters
    ----------
    source : float
        The constant f.
    rtol : float
        Relative residual to iterate to.
    """

    grid: Grid = "vertices"

    def __init__(self, source: float = 1.0, rtol: float = 1e-6) -> None:
        self.source, self.rtol = source, rtol

    def predict(self, a: Fields) -> Fields:
        """Solutions (batch, 1, height, width) for coefficients on the vertices of the same grid.

        Raises
        ------
        ValueError
            If a coefficient is not positive.
        """
        fields = [solve(sample[0].double().cpu().numpy(), self.source, rtol=self.rtol) for sample in a]
        return torch.stack([torch.from_numpy(u) for u in fields])[:, None].to(a)
