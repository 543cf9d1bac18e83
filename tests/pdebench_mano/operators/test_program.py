"""A program computes what its operator does, on grids and batches that it was not traced with, or is refused."""

import jaxtyping
import pytest
import torch
from torch import nn

from data_gen.grid import Grid
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.operators.program import TOLERANCE, write_program
from pdebench_mano.operators.registry import build_operator

GRID = Grid((9, 9))
TINY = {
    "mano": {
        "width": 8,
        "depth": 1,
        "heads": 2,
        "head_dim": 4,
        "window": 2,
        "stride": 1,
        "levels": 1,
        "spacing": 1 / 4,
    },
    "fno": {"width": 8, "modes": 4, "depth": 1},
    "vit": {"width": 8, "depth": 1, "heads": 2, "spacing": 1 / 4},
    "unet": {"width": 4, "levels": 2, "spacing": 1 / 4},
    "orthogonal-fno": {"width": 4, "modes": 2, "depth": 2},
    "orthogonal-mano": {"width": 4, "lattice": 4, "depth": 2},
    "transolver": {"width": 8, "depth": 1, "heads": 2, "slices": 4, "reference": 2, "spacing": 1 / 4},
    "ho-fno": {"width": 8, "modes": 4, "depth": 1},
    "lrsa": {"width": 8, "depth": 1, "heads": 2, "latents": 4, "spacing": 1 / 4},
}
"""Operators that any finer grid may be given to; swin is one, too, which takes long."""


class OddOrEven(nn.Conv2d):
    """Another function on grids of an odd number of points, so that no one program serves both."""

    def __init__(self):
        super().__init__(1, 1, 3, padding=1)

    def forward(self, a):
        return super().forward(a) * (2 if a.shape[-1] % 2 else 3)


class LooksAtValues(OddOrEven):
    def forward(self, a):
        return super().forward(a) if a.mean() > 0 else a


@pytest.fixture(autouse=True)
def traceable(monkeypatch):
    """Without the checks of shapes that tests execute: their dimensions are no numbers while an operator is traced."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def normalised(operator):
    """An operator between normalisers that are not the identity."""
    return NormalizedOperator(
        operator, *(Normalizer(torch.tensor([mean]), torch.tensor([std])) for mean, std in ((7.0, 4.0), (0.1, 0.02)))
    ).eval()


def difference(operator, program, shape):
    """Relative difference of a program on a random batch of four."""
    a = 5 + torch.rand(4, 1, *shape)
    u = operator.predict(a)
    return ((program(a) - u).norm() / u.norm()).item()


@pytest.mark.parametrize("name", TINY)
def test_a_program_serves_grids_that_it_was_not_traced_on(tmp_path, name):
    torch.manual_seed(0)
    operator = normalised(build_operator(name, 1, 1, **TINY[name]))
    assert write_program(operator, GRID, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for shape in ((9, 9), (9, 14), (33, 33)):
        assert difference(operator, program, shape) < TOLERANCE, shape


def test_where_the_grid_decides_the_program_is_of_one_grid(tmp_path):
    operator = normalised(OddOrEven())
    assert not write_program(operator, GRID, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    assert difference(operator, program, (9, 9)) < TOLERANCE
    with pytest.raises(AssertionError, match="9"):
        difference(operator, program, (17, 17))


def test_what_cannot_be_traced_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"^torch.export does not take operator LooksAtValues: .*") as refused:
        write_program(normalised(LooksAtValues()), GRID, tmp_path / "model.pt2")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_program_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    load = torch.export.load

    class Off(nn.Module):
        def __init__(self, path):
            super().__init__()
            self.program = load(path).module()

        def module(self):
            return self

        def forward(self, a):
            return self.program(a) * (1 + 3 * TOLERANCE)

    monkeypatch.setattr(torch.export, "load", Off)
    with pytest.raises(ValueError, match=r"differs from PyTorch by 3\.0e-05"):
        write_program(normalised(nn.Conv2d(1, 1, 3, padding=1)), GRID, tmp_path / "model.pt2")
