"""HO-FNO: products couple modes, its layer is the authors' where that is well defined, and its size is theirs."""

import math

import pytest
import torch
from torch.nn import functional as F

from baselines.ho_fno import HOFNO, Block
from pdebench_mano.benchmark.catalogue import parameter_count
from pdebench_mano.fields.operator import coordinates, live_on


def mixed(block, n, rows, columns):
    """What the authors' program computes before the first residual: FFTs of fields that are zero beyond their grid."""
    padded = F.pad(n, (0, 0, 0, 2 * n.shape[2] // 3, 0, 2 * n.shape[1] // 3))
    factors = block.factors(padded).chunk(block.order, -1)
    product = math.prod(factors[1:], start=factors[0]).permute(0, 3, 1, 2)
    spectrum, kept = torch.fft.rfft2(product), torch.zeros_like(torch.fft.rfft2(product))
    weight = block.multiplier.weight.squeeze(1)
    kept[:, :, : rows // 2, :columns] = spectrum[:, :, : rows // 2, :columns] * weight[:, rows // 2 :]
    kept[:, :, -(rows // 2) :, :columns] = spectrum[:, :, -(rows // 2) :, :columns] * weight[:, : rows // 2]
    y = torch.fft.irfft2(kept, s=product.shape[-2:])
    return y[..., : n.shape[1], : n.shape[2]].permute(0, 2, 3, 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_on_left_closed_grids_the_layer_is_the_authors(order):
    torch.manual_seed(0)
    block = Block(6, (8, 6), order, 1.0, 5 / 3, 0.0)
    live_on(block, "left")
    with torch.no_grad():
        x = torch.randn(2, 15, 18, 6)
        expected = x + mixed(block, block.norm1(x), 8, 3)
        expected = expected + block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(x), expected, rtol=0, atol=2e-6)


def test_a_product_of_waves_has_the_sums_of_their_modes():
    """cos² 2πx = 1/2 + 1/2 cos 4πx: a multiplier of |k| = 2 alone finds the second, and nothing of order one."""
    block = Block(1, (8, 8), 2, 1.0, 1.0, 0.0)
    live_on(block, "periodic")
    x, _ = coordinates(16, 16, "periodic")
    wave = torch.cos(2 * torch.pi * x)[None, None]
    with torch.no_grad():
        weight = torch.zeros_like(block.multiplier.weight)
        weight[:, :, [2, 6], 0] = 1
        block.multiplier.weight.copy_(weight)
        nothing = torch.zeros(1)
        torch.testing.assert_close(block.multiplier(wave, nothing), torch.zeros_like(wave), rtol=0, atol=1e-6)
        squared = block.multiplier(wave * wave, nothing)
    torch.testing.assert_close(squared, torch.cos(4 * torch.pi * x)[None, None] / 2, rtol=0, atol=1e-6)


def test_it_holds_what_the_authors_program_for_darcy_flow_holds():
    """Layer by layer, as their class builds them for the settings of their script; complex numbers count twice here."""
    width, depth, rows, columns, order, expansion = 256, 8, 32, 16, 2, 4
    lift, project = 3 * width + width, width + 1
    maps, norms = order * (width * width + width), 2 * width
    mlp = expansion * (width * width + width) + width * expansion * width + width
    multiplier = 2 * 2 * width * rows * columns
    found = HOFNO(
        modes=2 * rows, modes_y=2 * columns, width=width, depth=depth, order=order, mlp_ratio=float(expansion)
    )
    assert parameter_count(found) == lift + depth * (maps + norms + mlp + multiplier) + project


def test_parts_are_left_out_in_training_alone_and_the_mean_stays():
    torch.manual_seed(0)
    block = Block(1, (2, 2), 1, 1.0, 1.0, drop=0.25)
    ones = torch.ones(4000, 1, 1, 1)
    kept = block.train().kept(ones)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(block.eval().kept(ones), ones)


@pytest.mark.parametrize(("argument", "value"), [("modes_y", 1), ("order", 0), ("period", 0.5), ("drop", 1.0)])
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* got {value}"):
        HOFNO(**{argument: value})
