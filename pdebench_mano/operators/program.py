"""An operator as one program of `torch.export`, which runs where neither the suite nor the operator's code is.

    torch.export.load("model.pt2").module()(a)

maps physical fields a (batch, channels, height, width), float32, to physical fields, as `NormalizedOperator` does.
What cannot be traced once for all grids, because the number of levels depends on the grid, say, is traced on one.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from data_gen.grid import Grid
from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.fields.operator import Fields
from pdebench_mano.operators.contract import relative, sample

TOLERANCE = 1e-5
"""Largest relative difference of a program from PyTorch."""

BATCHES = (1, 3)
"""Sizes that a program is tried with; it was traced with another."""


def write_program(operator: NormalizedOperator, grid: Grid, path: Path) -> bool:
    """Write the program of an operator that takes any batch, after it was read back and compared with PyTorch.

    Parameters
    ----------
    operator : NormalizedOperator
        Left as it was.
    grid : Grid
        Of the training. The program takes every grid that has at least as many points along both axes, compared on this
        one and on one of half the spacing; or this one alone, where the operator allows no more.
    path : Path
        The file, ``model.pt2``.

    Returns
    -------
    bool
        Whether it takes other grids.

    Raises
    ------
    ValueError
        If the operator cannot be traced, or its program computes something else.
    """
    operator = copy.deepcopy(operator).cpu().eval().requires_grad_(False)
    batch = Dim("batch", min=1)
    any_grid = {2: Dim("height", min=grid.shape[0]), 3: Dim("width", min=grid.shape[1])}
    reason = ""
    for free, grids in ((any_grid, (grid, grid.refined())), ({}, (grid,))):
        try:
            with quietly():
                traced = torch.export.export(
                    operator, (fields(operator, 2, grid),), dynamic_shapes=({0: batch} | free,), strict=False
                )
                for node in traced.graph.nodes:  # which names files of this machine
                    node.meta.pop("stack_trace", None)
                torch.export.save(traced, path)
                difference = largest_difference(operator, torch.export.load(path).module(), grids)
        except Exception as error:  # whatever tracing meets in the operator's code
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            continue
        if difference <= TOLERANCE:
            return bool(free)
        reason = f"its program differs from PyTorch by {difference:.1e}"
    path.unlink(missing_ok=True)
    raise ValueError(f"torch.export does not take operator {type(operator.operator).__name__}: {reason}")


def largest_difference(operator: NormalizedOperator, program: nn.Module, grids: tuple[Grid, ...]) -> float:
    """The largest relative difference of a program from its operator, over some grids and `BATCHES`; NaN if any is."""
    differences = []
    for a in (fields(operator, batch, grid) for grid in grids for batch in BATCHES):
        u = operator(a)
        differences.append(relative(program(a) - u, u))
    return torch.tensor(differences).max().item()


@contextmanager
def quietly() -> Iterator[None]:
    """Without what PyTorch's exporter says of itself, which no user of an operator can mend."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def fields(operator: NormalizedOperator, batch: int, grid: Grid) -> Fields:
    """Reproducible noise of the mean and spread of the inputs that the operator was trained on."""
    height, width = grid.shape
    return operator.encoder.decode(sample(batch, len(operator.encoder.mean), (height, width)))
