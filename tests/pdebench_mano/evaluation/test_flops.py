"""Operations against closed forms: two a multiply-add, eight a complex one, 5 N log₂ N an FFT."""

from math import log2

import pytest
import torch
from torch import nn

from baselines.fno import FourierConv
from pdebench_mano import MANO
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.mano.kernels import using


class Applied(nn.Module):
    """A function as an operator."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


SPECTRUM = torch.zeros(5, 7, 16, 9, dtype=torch.complex64)
WEIGHTS = torch.zeros(3, 7, 16, 9, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nn.Conv2d(3, 7, 1), 2 * 3 * 7 * 16 * 18),
        (nn.Conv2d(3, 7, 3, padding=1), 2 * 9 * 3 * 7 * 16 * 18),
        (nn.Linear(18, 11), 2 * 18 * 11 * 3 * 16),
        (nn.Linear(18, 11, dtype=torch.complex64), None),
        (torch.fft.fft2, 5 * 3 * 288 * log2(288)),
        (torch.fft.rfft2, 2.5 * 3 * 288 * log2(288)),
        (lambda x: torch.fft.irfft(x, n=40), 2.5 * 3 * 16 * 40 * log2(40)),
        (lambda x: x.relu() * 2 + 1, 0),
    ],
)
def test_operations_are_those_of_the_closed_form(function, expected):
    if expected is None:  # complex inputs of a complex layer, with its bias
        function, expected = (lambda x, layer=function: layer(x.to(torch.complex64))), 8 * 18 * 11 * 3 * 16
    assert flops(Applied(function), 3, (16, 18)) == round(expected)


def test_a_contraction_of_complex_numbers_is_eight_real_operations_a_multiply_add():
    """The spectral multiplication of a Fourier layer, as neuraloperator writes it."""
    operator = Applied(lambda x: torch.einsum("bixy,ioxy->boxy", torch.zeros(1, 3, 16, 9, dtype=torch.cfloat), WEIGHTS))
    assert flops(operator, 3, (16, 16)) == 8 * 3 * 7 * 16 * 9


@pytest.mark.parametrize("points", [24, 33])
def test_a_fourier_layer_is_four_products_with_waves_and_one_with_weights(points):
    width, modes = 5, 8
    kx, ky = modes, modes // 2 + 1
    layer = FourierConv(width, width, (modes, modes))
    real, complex_ = 2 * points**2 * ky, 2 * points * kx * ky
    assert flops(layer, width, (points, points)) == width * (4 * real + 8 * complex_) + 8 * width**2 * kx * ky


def test_transforms_can_be_left_out():
    assert flops(Applied(torch.fft.fft2), 3, (16, 18), transforms=False) == 0


def test_operations_are_those_of_training_and_the_same_each_time():
    """What is remembered of a grid is not counted when it is made; a prediction may take another form."""
    operator = MANO(width=8, depth=1, heads=1, head_dim=4, mlp_width=8, levels=1, spacing=1 / 28)
    with torch.no_grad():
        alone = flops(operator, 1, (30, 29))
    with using("blocks"):
        assert flops(operator, 1, (30, 29)) == alone
    assert all(each.requires_grad for each in operator.parameters())
