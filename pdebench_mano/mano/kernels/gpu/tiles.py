"""What the kernels share: fast elementary functions, how windows lie, how rows of heads are read and written."""

import os
from typing import no_type_check

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


if os.environ.get("TRITON_INTERPRET") == "1":

    @triton.jit
    @no_type_check
    def exp2(x):
        return tl.exp2(x)

    @triton.jit
    @no_type_check
    def reciprocal(x):
        return 1.0 / x

    @triton.jit
    @no_type_check
    def log2(x):
        return tl.log2(x)

else:

    @triton.jit
    @no_type_check
    def exp2(x):
        """2ˣ in one instruction; below 2⁻¹²⁶ it is 0."""
        return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)

    @triton.jit
    @no_type_check
    def reciprocal(x):
        """1/x to an ulp, in one instruction."""
        return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)

    @triton.jit
    @no_type_check
    def log2(x):
        """log₂ x of an x that is no denormal, in one instruction."""
        return tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
@no_type_check
def entry(tiles, HEADS: tl.constexpr):
    """Of this program's tile: the image's first row, height and width, the tile's place, the image's first window.

    The heads of a tile are consecutive programs: together they read whole lines of memory.
    """
    place = tiles + 6 * (tl.program_id(0) // HEADS)
    return (
        tl.load(place).to(tl.int64),
        tl.load(place + 1),
        tl.load(place + 2),
        tl.load(place + 3),
        tl.load(place + 4),
        tl.load(place + 5).to(tl.int64),
    )


@triton.jit
@no_type_check
def count(i, points, window: tl.constexpr, stride: tl.constexpr):
    """The first and the number of windows that hold point i, at least 1; the last stands flush with the far edge."""
    first = tl.maximum(i - window + stride, 0) // stride
    last = tl.where(i >= points - window, tl.cdiv(points - window, stride), i // stride)
    return first, tl.maximum(last - first + 1, 1)


@triton.jit
@no_type_check
def load(source, row, mask, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The heads at `row`, with a last axis of BLOCK_D ≥ D channels."""
    channel = tl.arange(0, BLOCK_D)
    if BLOCK_D == D:
        return tl.load(source + tl.expand_dims(row, -1) * stride + channel, mask=tl.expand_dims(mask, -1), other=0.0)
    return tl.load(
        source + tl.expand_dims(row, -1) * stride + channel, mask=tl.expand_dims(mask, -1) & (channel < D), other=0.0
    )


@triton.jit
@no_type_check
def store(target, row, mask, stride, value, D: tl.constexpr, BLOCK_D: tl.constexpr):
    channel = tl.arange(0, BLOCK_D)
    place = target + tl.expand_dims(row, -1) * stride + channel
    tl.store(place, value.to(target.dtype.element_ty), mask=tl.expand_dims(mask, -1) & (channel < D))


@triton.jit
@no_type_check
def dot(a, b, start=None):
    """start + a b, of what was stored, summed in float32: float32 operands are not rounded to tf32."""
    return tl.dot(a, b, acc=start, input_precision="ieee")
