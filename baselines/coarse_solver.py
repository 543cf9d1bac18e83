"""CoarseSolver: the classical competitor, finite differences on the grid that a network is given.

A learned operator of the error of a coarse solve has learned no more than a coarse solve computes, and a coarse solve
takes milliseconds. `Upsampled(CoarseSolver(f), shape)` brings it to a finer grid by cubic splines.
"""

import torch

from data_gen import solve
from data_gen.problems.darcy.scheme import Mean
from pdebench_mano.fields.operator import Fields, Grid


class CoarseSolver:
    """Solves -∇·(a∇u) = f on the vertices of (0, 1)² with u = 0 on the boundary, by the five-point scheme.

    Parameters
    ----------
    source : float
        The constant f.
    rtol : float
        Relative residual to iterate to.
    mean : {"arithmetic", "harmonic"}
        Mean that makes the coefficient at the faces.
    """

    grid: Grid = "vertices"

    def __init__(self, source: float = 1.0, rtol: float = 1e-6, mean: Mean = "arithmetic") -> None:
        self.source, self.rtol, self.mean = source, rtol, mean

    def predict(self, a: Fields) -> Fields:
        """Solutions (batch, 1, height, width) for coefficients on the vertices of the same grid.

        Raises
        ------
        ValueError
            If a coefficient is not positive.
        """
        arrays = [sample[0].double().cpu().numpy() for sample in a]
        fields = [solve(array, self.source, rtol=self.rtol, mean=self.mean) for array in arrays]
        return torch.stack([torch.from_numpy(u) for u in fields])[:, None].to(a)
