import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.fields.operator import Operator, coordinates


@pytest.mark.parametrize(("grid", "fine", "coarse"), [("vertices", 33, 17), ("left", 32, 16)])
def test_strided_coordinates_are_the_coordinates_of_the_strided_grid(grid, fine, coarse):
    torch.testing.assert_close(coordinates(fine, fine, grid)[:, ::2, ::2], coordinates(coarse, coarse, grid))


def test_first_coordinate_runs_along_the_first_axis():
    x, y = coordinates(3, 5)
    assert x[:, 0].tolist() == [0, 0.5, 1]
    assert y[0].tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(("height", "grid", "words"), [(1, "vertices", "at least 2"), (4, "cells", "'cells'")])
def test_coordinates_refuse_what_they_cannot_place(height, grid, words):
    with pytest.raises(Exception, match=words):
        coordinates.__wrapped__(height, 4, grid) if grid == "cells" else coordinates(height, 4, grid)


@given(st.integers(0, 1000), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.floats(-1e3, 1e3))
def test_normaliser_fitted_in_batches_equals_statistics_of_the_whole(seed, sizes, offset):
    generator = np.random.default_rng(seed)
    batches = [torch.tensor(generator.normal(offset, 2.0, (n, 2, 3, 4)), dtype=torch.float32) for n in sizes]
    normalizer = Normalizer.fit(batches)
    whole = torch.cat(batches).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(normalizer.mean, whole.mean(1).float())
    torch.testing.assert_close(normalizer.std, whole.std(1, correction=0).float(), rtol=1e-5, atol=1e-6)


def test_a_constant_channel_survives_normalisation():
    normalizer = Normalizer.fit([torch.full((2, 1, 3, 3), 7.0)])
    field = torch.full((1, 1, 3, 3), 7.0)
    assert normalizer.encode(field).abs().max() == 0
    torch.testing.assert_close(normalizer.decode(normalizer.encode(field)), field)


class Identity(Operator):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, a):
        return self.scale * self.with_coordinates(a)[:, -1:]


def test_a_wrapped_operator_learns_the_grid_of_its_data():
    operator = Identity()
    wrapped = NormalizedOperator(operator, Normalizer.identity(1), Normalizer.identity(1), grid="left")
    assert wrapped(torch.zeros(1, 1, 4, 4))[0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75]


def test_prediction_is_in_physical_units_and_restores_the_mode():
    wrapped = NormalizedOperator(
        Identity(), Normalizer.identity(1), Normalizer(torch.tensor([1.0]), torch.tensor([2.0]))
    )
    wrapped.train()
    torch.testing.assert_close(wrapped.predict(torch.zeros(1, 1, 3, 3))[0, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    assert wrapped.training
