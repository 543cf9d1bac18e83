"""What acts point by point, LayerNorms, linear layers and the mlp, as autograd functions over the Triton kernels.

What is kept for the backward pass is what enters each function: hidden activations are computed again. Matrices are
rounded once to the type of the computation; every sum is in float32. The mlp reads and writes the latent field in the
field's own type, which autocast leaves in float32.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import triton
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdebench_mano.mano.kernels.gpu import layers
from pdebench_mano.mano.kernels.gpu.attention import Rows, registers

NORM_ROWS, NORM_WARPS, NORM_STAGES = 16, 4, 3  # of the LayerNorms' gradient
FEW = 1 << 16  # rows of a sum over all of them whose partial sums would take longer than reading the rows twice
SPLITS = 132  # programs among which the rows of a sum over all of them are shared out: one a multiprocessor


class Norms(NamedTuple):
    """Weights and biases of one LayerNorm, or of two in a row."""

    weight: Tensor
    bias: Tensor
    weight2: Tensor | None = None
    bias2: Tensor | None = None

    @property
    def number(self) -> int:
        return 1 if self.weight2 is None else 2


def summed(partial: Float[Tensor, "number ..."]) -> Float[Tensor, "..."]:
    """The sum of partial sums."""
    out, number = partial.new_empty(partial.shape[1:]), len(partial)
    columns, rows = out.numel(), max(16, min(128, triton.next_power_of_2(number)))
    layers.total[(-(-columns // 32),)](partial, out, number, columns, NUMBER=rows, COLUMNS=32, num_warps=rows // 16)
    return out


def rows_at_once(channels: int) -> int:
    """Rows of a program: 64, and 32 of a field of fewer than 64 channels.

    Of 64 rows Triton makes products of Hopper's warp groups. Those of `layers.mlp_backward` with 32 channels, compiled
    by Triton 3.6, read shared memory beside the program's own, as compute-sanitizer reports.
    """
    return 64 if channels >= 64 else 32


def blocks(rows: int, size: int) -> int:
    return -(-rows // size)


def normalise(x: Rows, coarse_x: Rows, norms: Norms, dtype: torch.dtype) -> Rows:
    """The LayerNorms of all levels, one after the other."""
    n, rows, c = len(x), len(x) + len(coarse_x), x.shape[1]
    out = x.new_empty(rows, c, dtype=dtype)
    for part, target in ((x, out[:n]), (coarse_x, out[n:])):
        if len(part):
            layers.normalise[(blocks(len(part), 16),)](
                part, *norms, target, len(part), C=c, ROWS=16, TWO=norms.number == 2, num_warps=4
            )
    return out


def normalise_backward(
    d_normal: Rows, x: Rows, coarse_x: Rows, norms: Norms, residual: Rows | None
) -> tuple[Rows, Rows, Tensor]:
    """The gradients by x, plus `residual`, by coarse_x and, as rows, by the parameters of the LayerNorms."""
    dx, coarse_dx = torch.empty_like(x), torch.empty_like(coarse_x)
    programs = [min(2 * SPLITS, blocks(len(part), NORM_ROWS)) for part in (x, coarse_x)]
    partial = x.new_empty(sum(programs), 2 * norms.number, x.shape[1], dtype=torch.float32)
    parts = ((x, dx, residual), (coarse_x, coarse_dx, None))
    for (part, target, rest), g, sums in zip(
        parts, d_normal.split([len(x), len(coarse_x)]), partial.split(programs), strict=True
    ):
        if len(part):
            layers.normalise_backward[(len(sums),)](
                g, part, *norms, rest, target, sums, len(part),
                C=x.shape[1], ROWS=NORM_ROWS, TWO=norms.number == 2, RESIDUAL=rest is not None, STAGES=NORM_STAGES,
                num_warps=NORM_WARPS,
            )  # fmt: skip
    return dx, coarse_dx, summed(partial)


def products(pairs: list[tuple[Rows, Rows]]) -> tuple[Tensor, Tensor]:
    """Σ aᵀ b and Σ a over the rows of all pairs."""
    a, b = pairs[0][0].shape[1], pairs[0][1].shape[1]
    pairs = [(left, right) for left, right in pairs if len(left)]
    few = sum(len(left) for left, _ in pairs) < FEW
    chunk, block = math.gcd(a, 64 if few else 128), math.gcd(b, 128)
    rows = rows_at_once(min(a, b)) * (1 if few else 2)
    splits = [min(max(1, SPLITS * chunk * block // (a * b)), blocks(len(left), rows)) for left, _ in pairs]
    partial = pairs[0][0].new_empty(sum(splits), a * b + a, dtype=torch.float32)
    for (left, right), programs, part in zip(pairs, splits, partial.split(splits), strict=True):
        layers.products[a // chunk, programs, b // block](
            left, right, part, len(left),
            A=a, B=b, CHUNK=chunk, BLOCK=block, ROWS=rows, num_warps=4 if few else 8, num_stages=3,
        )  # fmt: skip
    matrix, sums = summed(partial).split([a * b, a])
    return matrix.view(a, b), sums


class _LayerNorms(torch.autograd.Function):
    """LayerNorm(x), or LayerNorm(LayerNorm(x)), rounded to `dtype`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(x, *parameters)
        return normalise(x, x[:0], Norms(*parameters), dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        dx, _, d_parameters = normalise_backward(g.contiguous(), x, x[:0], Norms(*parameters), None)
        return dx, None, *d_parameters


def layer_norms(
    x: Float[Tensor, "*batch channels"], parameters: Sequence[Tensor], dtype: torch.dtype
) -> Float[Tensor, "*batch channels"]:
    """One LayerNorm of x, or two in a row, of these weights and biases, rounded to `dtype`."""
    with torch.cuda.device_of(x):
        n = _LayerNorms.apply(x.reshape(-1, x.shape[-1]).contiguous(), dtype, *parameters)
    return n.reshape(x.shape)


Activation = Literal["gelu", "tanh"]


class _MLP(torch.autograd.Function):
    """linear(activation(linear(LayerNorm(x)))), plus x if `residual`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, norm_weight: Tensor, norm_bias: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor,
        bias2: Tensor, activation: Activation, residual: bool, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        w1, w2, (rows, c), (outputs, hidden) = weight1.to(dtype), weight2.to(dtype), x.shape, weight2.shape
        out = x.new_empty(rows, outputs, dtype=torch.promote_types(x.dtype, dtype) if residual else dtype)
        ctx.save_for_backward(x, norm_weight, norm_bias, w1, bias1, w2)
        ctx.settings = {
            "C": c, "HIDDEN": hidden, "OUT": outputs, "BLOCK_OUT": max(16, triton.next_power_of_2(outputs)),
            "ROWS": rows_at_once(c), "CHUNK": math.gcd(hidden, 64), "TANH": activation == "tanh",
        }  # fmt: skip
        ctx.residual = residual
        layers.mlp[(blocks(rows, ctx.settings["ROWS"]),)](
            x, norm_weight, norm_bias, w1, bias1, w2, bias2, out, rows,
            **ctx.settings, RESIDUAL=residual, num_warps=4, num_stages=1, **registers(168),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, norm_bias, w1, bias1, w2 = ctx.saved_tensors
        g, (rows, c), hidden, outputs = g.contiguous(), x.shape, ctx.settings["HIDDEN"], ctx.settings["OUT"]
        dx, normed = torch.empty_like(x), torch.empty_like(x, dtype=w1.dtype)
        rounded = g if g.dtype == w1.dtype else torch.empty_like(g, dtype=w1.dtype)
        size, chunk = ctx.settings["ROWS"], ctx.settings["CHUNK"]
        partial = x.new_empty(blocks(rows, size), 2 * c + hidden + outputs, dtype=torch.float32)
        layers.mlp_backward[(len(partial),)](
            g, x, norm_weight, norm_bias, w1, bias1, w2, dx, normed, rounded, partial, rows,
            **ctx.settings, RESIDUAL=ctx.residual, num_warps=4, num_stages=1,
        )  # fmt: skip
        splits = min(max(1, SPLITS * chunk // hidden), blocks(rows, size))
        d1, d2 = partial.new_empty(splits, hidden, c), partial.new_empty(splits, outputs, hidden)
        layers.mlp_weights[hidden // chunk, splits](
            rounded, normed, w1, bias1, w2, d1, d2, rows,
            **(ctx.settings | {"ROWS": 2 * size}), num_warps=8, num_stages=2,
        )  # fmt: skip
        d_norm_weight, d_norm_bias, d_bias1, d_bias2 = summed(partial).split([c, c, hidden, outputs])
        return dx, d_norm_weight, d_norm_bias, summed(d1), d_bias1, summed(d2), d_bias2, None, None, None


def mlp(
    x: Float[Tensor, "*batch channels"],
    norm: tuple[Tensor, Tensor],
    linear1: tuple[Tensor, Tensor],
    linear2: tuple[Tensor, Tensor],
    *,
    activation: Activation,
    residual: bool,
    dtype: torch.dtype,
) -> Float[Tensor, "*batch out"]:
    """linear2(activation(linear1(LayerNorm(x)))), plus x if `residual`; each layer given by weight and bias.

    Factors of products are rounded to `dtype`, and so is a result without x; LayerNorm and the sum take x as it is.
    """
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    with torch.cuda.device_of(x):
        y = _MLP.apply(rows, *norm, *linear1, *linear2, activation, residual, dtype)
    return y.reshape(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    """x Wᵀ + bias, with W rounded once, and gradients of both in one pass over the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        matrix = weight.to(x.dtype)
        ctx.save_for_backward(x, matrix)
        return torch.addmm(bias.to(x.dtype), x, matrix.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (x, matrix), g = ctx.saved_tensors, g.contiguous()
        return g @ matrix, *products([(g, x)])


def linear(
    x: Float[Tensor, "*batch channels"], weight: Float[Tensor, "out channels"], bias: Float[Tensor, " out"]
) -> Float[Tensor, "*batch out"]:
    """The linear layer of x, in the type of x; gradients of its parameters are in float32."""
    with torch.cuda.device_of(x):
        y = _Linear.apply(x.reshape(-1, x.shape[-1]).contiguous(), weight, bias)
    return y.reshape(*x.shape[:-1], -1)
