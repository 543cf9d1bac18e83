"""Launches the attention kernels over all levels of a pyramid at once, and makes them differentiable.

Levels are stacked as rows: each is batch × height × width points, one after the other.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdebench_mano.fields.lattice import hold
from pdebench_mano.mano.kernels.gpu import bands, windows

STAGES = 3  # of the loops over windows: how many steps ahead their loads are under way

Rows = Float[Tensor, "_ _"]


class Level(NamedTuple):
    """One grid of a pyramid, and where its rows begin."""

    first: int
    batch: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        return self.batch * self.height * self.width


def stack(batch: int, shapes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """The levels of these heights and widths, one after the other."""
    levels: list[Level] = []
    for height, width in shapes:
        levels.append(Level(levels[-1].first + levels[-1].rows if levels else 0, batch, height, width))
    return tuple(levels)


@lru_cache(maxsize=64)
def points(levels: tuple[Level, ...], device: torch.device) -> Int[Tensor, " rows"]:
    """The point of every row of a stack, if those of its levels are numbered one level after another."""
    parts, first = [], 0
    for level in levels:
        size = level.height * level.width
        parts.append((first + torch.arange(size, dtype=torch.int32, device="cpu")).repeat(level.batch))
        first += size
    return torch.cat(parts).to(device)


class Geometry(NamedTuple):
    """How windows lie on a stack of levels. No side is shorter than the window."""

    levels: tuple[Level, ...]
    heads: int
    window: int
    stride: int

    @property
    def rows(self) -> int:
        return self.levels[-1].first + self.levels[-1].rows

    def windows(self, level: Level) -> int:
        """How many windows an image of the level has."""
        rows, columns = (-(-(n - self.window) // self.stride) + 1 for n in (level.height, level.width))
        return rows * columns


@lru_cache(maxsize=64)
def _tiles(geometry: Geometry, tile: tuple[int, int], device: torch.device) -> Tensor:
    """[first row of the image, height, width, first row and column of the tile, first window of the image]
    of every tile."""
    parts, first_window = [], 0
    for level in geometry.levels:
        first, batch, height, width = level
        image, i, j = np.mgrid[0:batch, 0 : height : tile[0], 0 : width : tile[1]].reshape(3, -1)
        shape = np.broadcast_to([[height], [width]], (2, image.size))
        windows_before = first_window + image * geometry.windows(level)
        parts.append(np.vstack([first + image * height * width, shape, i, j, windows_before]).T)
        first_window += batch * geometry.windows(level)
    return torch.from_numpy(np.vstack(parts).astype(np.int32, order="C")).to(device)


class _Setting(NamedTuple):
    """Which kernels serve a geometry, the points of a tile, constants, warps of a program, registers backward."""

    kernels: Any
    tile: tuple[int, int]
    constants: dict[str, int]
    warps: int
    limit: dict[str, int]


def registers(number: int) -> dict[str, int]:
    """Launch option that bounds the registers of a thread, so that more programs share a multiprocessor."""
    return {} if os.environ.get("TRITON_INTERPRET") == "1" else {"maxnreg": number}


def _setting(geometry: Geometry, inner: int) -> _Setting:
    _, _, window, stride = geometry
    d = inner // geometry.heads
    constants = {"INNER": inner, "D": d, "BLOCK_D": max(16, triton.next_power_of_2(d))}
    if (window, stride) == (2, 1):
        return _Setting(bands, (1, bands.COLUMNS.value - 2), constants, 1, registers(144))
    members = max(16, triton.next_power_of_2(window**2))
    side = 4 if stride <= 4 else 8
    constants |= {"WINDOW": window, "STRIDE": stride, "MEMBERS": members, "HIGH": side, "WIDE": side}
    warps = max(1, min(8, side * side * members // 1024))
    return _Setting(windows, (side, side), constants, warps, registers(168) if members == 64 else {})


def attend(qkv: Rows, geometry: Geometry) -> Rows:
    """Window attention of (rows, 3 · heads · d) queries, keys and values, on every level."""
    inner = qkv.shape[1] // 3
    kernels, tile, constants, warps, _ = _setting(geometry, inner)
    tiles = hold(_tiles(geometry, tile, qkv.device))
    out = qkv.new_empty(qkv.shape[0], inner)
    scale = (inner // geometry.heads) ** -0.5
    kernels.forward[(len(tiles) * geometry.heads,)](
        qkv, out, tiles, scale, **constants, num_warps=warps, num_stages=STAGES
    )
    return out


def attend_backward(qkv: Rows, g: Rows, geometry: Geometry) -> tuple[Rows, Rows]:
    """The gradient by qkv, and the attention's result, which is cheaper to compute again than to keep."""
    inner, rows = qkv.shape[1] // 3, qkv.shape[0]
    kernels, tile, constants, warps, limit = _setting(geometry, inner)
    tiles = _tiles(geometry, tile, qkv.device)
    out, dqkv = torch.empty_like(g), torch.empty_like(qkv)
    between: tuple[Any, ...]
    if kernels is bands:
        between = (qkv.new_empty(2 * 9 * geometry.heads, rows), rows)
    else:
        number = sum(level.batch * geometry.windows(level) for level in geometry.levels)
        between = (qkv.new_empty(number * geometry.heads, 2, constants["MEMBERS"], dtype=torch.float32),)
    grid, arguments = (len(tiles) * geometry.heads,), (*between, tiles, (inner // geometry.heads) ** -0.5)
    options = constants | {"num_warps": warps, "num_stages": STAGES}
    kernels.backward_queries[grid](qkv, g, dqkv, out, *arguments, **options, **limit)
    kernels.backward_keys[grid](qkv, g, dqkv, *arguments, **options)
    return dqkv, out


class _WindowAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(qkv)
        ctx.geometry = geometry
        return attend(qkv, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (qkv,) = ctx.saved_tensors
        return attend_backward(qkv, g.contiguous(), ctx.geometry)[0], None


def triton_attention(
    qkv: Float[Tensor, "batch height width qkv"], heads: int, window: int, stride: int
) -> Float[Tensor, "batch height width inner"]:
    """Window attention on one grid; neither side is shorter than the window."""
    b, h, w, channels = qkv.shape
    geometry = Geometry(stack(b, [(h, w)]), heads, window, stride)
    with torch.cuda.device_of(qkv):
        y = _WindowAttention.apply(qkv.reshape(-1, channels).contiguous(), geometry)
    return y.reshape(b, h, w, -1)
