"""Floating-point operations of one prediction: real multiplications and additions, counted as the operator runs.

A complex multiply-add is eight of them. An FFT of N complex numbers counts 5 N log₂ N and one of real numbers half of
that, as is usual (Frigo & Johnson 2005, "The design and implementation of FFTW3", §II). Not counted is what acts point
by point: activations, normalisation, additions; nor is interpolation.
"""

from collections.abc import Sequence
from math import log2, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def flops(operator: nn.Module, channels: int, shape: Sequence[int], *, transforms: bool = True) -> int:
    """Of one forward pass, in evaluation mode, for one sample of `channels` fields of `shape`.

    The operator is on a CPU: kernels of one's own on a GPU are not seen. FFTs are counted if `transforms` says so.
    Counted is what training computes; a prediction on a CPU may compute more where that is faster.
    """
    counter = FlopCounterMode(display=False, custom_mapping=PRODUCTS | (TRANSFORMS if transforms else {}))
    weights = {name: each.detach() for name, each in operator.named_parameters()}  # so that nothing is kept
    zeros = torch.zeros(1, channels, *shape)
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention on CPUs would not be counted
        functional_call(operator.eval(), weights, zeros)  # makes what is remembered of a grid
        with counter:
            functional_call(operator, weights, zeros)
    return round(counter.get_total_flops())


def _product(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return (8 if a.is_complex() else 2) * prod(a.shape) * b.shape[-1]


def _added_product(_: Tensor, a: Tensor, b: Tensor, *__: Any, **___: Any) -> int:
    return _product(a, b)


def _transform(a: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> float:
    return 5 * prod(a) * log2(prod(a[axis] for axis in axes))


def _real_transform(a: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> float:
    return _transform(a, axes) / 2


def _transform_to_real(_: Sequence[int], axes: Sequence[int], *__: Any, out_shape: Sequence[int], **___: Any) -> float:
    return _transform(out_shape, axes) / 2


# these two are called with the tensors instead of their shapes
_product._get_raw = True  # type: ignore[attr-defined]
_added_product._get_raw = True  # type: ignore[attr-defined]

PRODUCTS = {
    torch.ops.aten.mm: _product,
    torch.ops.aten.bmm: _product,
    torch.ops.aten.addmm: _added_product,
    torch.ops.aten.baddbmm: _added_product,
}
TRANSFORMS = {
    torch.ops.aten._fft_c2c: _transform,
    torch.ops.aten._fft_r2c: _real_transform,
    torch.ops.aten._fft_c2r: _transform_to_real,
}
