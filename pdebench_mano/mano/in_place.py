"""MANO's blocks for predictions on a CPU: the latent field is updated in place, by parts that fit into a cache.

What is computed is that of `pdebench_mano.mano.model`, module by module; none of the fields in between is ever written
whole. A band of lattice rows gathers from few rows of the grid, and expands to few, so that most of the products with
the matrices of `pdebench_mano.mano.expansions` are with zeros, and left out. The moments of a lattice point lie side by
side in the order in which `down` reads and `up` writes them, two at a time, so that nothing is transposed.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import lattice_points
from pdebench_mano.mano.anchored import AnchoredAttention
from pdebench_mano.mano.expansions import ORDERS, expanding, gathering
from pdebench_mano.mano.kernels.selection import Place, forced
from pdebench_mano.mano.multipole import Field

POINTS = 2500
"""Points of the grid that are handled at a time, at most."""

ROWS = 10
"""Rows of the lattice that are handled at a time."""


class Band(NamedTuple):
    """Rows of the lattice, the rows of the grid that they gather from and expand to, and both matrices."""

    lattice: slice
    points: slice
    gathering: Float[Tensor, "two_rows points"]
    expanding: Float[Tensor, "points two_rows"]


@lru_cache(maxsize=16)
def bands(points: int, lattice: int, grid: Kind, dtype: torch.dtype) -> tuple[Band, ...]:
    """The axis of a lattice in bands; on a periodic grid those at its ends see all of the axis."""
    cpu, parts = torch.device("cpu"), []
    with torch.inference_mode(False), torch.no_grad():
        down = gathering(points, lattice, grid, cpu, dtype).view(2, lattice, points)
        up = expanding(points, lattice, grid, cpu, dtype).view(points, 2, lattice)
        for first in range(0, lattice, ROWS):
            rows = slice(first, first + ROWS)
            seen = ((down[:, rows] != 0).any(1).any(0) | (up[..., rows] != 0).any(2).any(1)).nonzero()
            few = slice(int(seen[0]), int(seen[-1]) + 1)
            parts.append(Band(rows, few, down[:, rows, few].flatten(0, 1), up[few, :, rows].flatten(1)))
    return tuple(parts)


@lru_cache(maxsize=16)
def columns(points: int, lattice: int, grid: Kind, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Matrices from the second axis to the lattice and back, with the orders of a lattice point side by side."""
    cpu = torch.device("cpu")
    with torch.inference_mode(False), torch.no_grad():
        down = gathering(points, lattice, grid, cpu, dtype).view(2, lattice, points).transpose(0, 1).flatten(0, 1)
        up = expanding(points, lattice, grid, cpu, dtype).view(points, 2, lattice).transpose(1, 2).flatten(1)
    return down, up


def serves(model: Any, x: Field) -> bool:
    """Whether nobody asks for what lies between, and modules are those they were made as."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or forced() == "fused":
        return False
    if any(_is_transformed(each) for each in (x, *model.parameters())):
        return False
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float32:
        return False
    if any(each._forward_hooks or each._forward_pre_hooks for each in model.modules()):
        return False
    anchored = (block.attention for block in model.blocks if isinstance(block.attention, AnchoredAttention))
    read = [each for block in model.blocks for each in (block.mlp.fc1, block.mlp.fc2)]
    read += [each for layer in anchored for each in (layer.down, layer.up)]
    return all(type(each) is nn.Linear and each.bias is not None for each in read)


def _is_transformed(x: Tensor) -> bool:
    """Whether `vmap` maps over it, which has no products that write to a given place, or it has a tangent.

    That would be lost in inference mode.
    """
    return torch._C._functorch.is_functorch_wrapped_tensor(x) or unpack_dual(x).tangent is not None


def in_parts(x: Field) -> tuple[Float[Tensor, "points channels"], ...]:
    """The points of all samples, in the fewest parts of at most `POINTS`, all of a size."""
    points = x.flatten(0, -2)
    return points.tensor_split(-(-len(points) // POINTS))


@torch.inference_mode()
def advance(blocks: Any, x: Field, grid: Kind) -> None:
    """x += attention(x), then x += mlp(x), for every `Block` of MANO."""
    parts = in_parts(x)
    hidden = x.new_empty(len(parts[0]) * max(len(block.mlp.fc1.weight) for block in blocks))
    for block in blocks:
        if not isinstance(block.attention, AnchoredAttention):
            x.add_(block.attention(x))
        elif block.attention.orders < ORDERS:
            x.add_(block.attention(x, grid))
        else:
            add_attention(block.attention, x, grid)
        add_mlp(block.mlp, parts, hidden)


def add_mlp(mlp: Any, parts: tuple[Tensor, ...], hidden: Float[Tensor, " _"]) -> None:
    """x += mlp(x) for parts of (points, channels), one after another; `hidden` is memory for the hidden layer."""
    gelu_ = torch.ops.aten.gelu_
    if torch.is_autocast_enabled("cpu"):
        for x in parts:
            x.add_(mlp.fc2(gelu_(mlp.fc1(mlp.norm(x)))))
        return
    first, second = (layer.weight.T.contiguous() for layer in (mlp.fc1, mlp.fc2))  # multiplied faster in this order
    for x in parts:
        h = hidden[: len(x) * first.shape[1]].view(len(x), -1)
        torch.addmm(mlp.fc1.bias, mlp.norm(x), first, out=h)
        x.add_(mlp.fc2.bias).addmm_(gelu_(h), second)


def add_attention(layer: AnchoredAttention, x: Field, grid: Kind) -> None:
    """x += layer(x, grid); the products along the first axis in the type of x, all others in that of autocast."""
    lattice, dtype = lattice_points(layer.spacing, grid), Place.of(x).dtype
    width, channels = x.shape[2:]
    rows = bands(x.shape[1], lattice, grid, x.dtype)
    down, up = columns(width, lattice, grid, dtype)
    to_means, to_slopes = layer.down.weight.to(dtype).T.split(2 * channels)
    bias = layer.down.bias.to(dtype)
    field = x.new_empty(len(x), lattice, lattice, channels, dtype=dtype)
    with torch.autocast("cpu", enabled=False):
        for sample, gathered in zip(x, field, strict=True):
            for band in rows:
                lines = (band.gathering @ sample[band.points].flatten(1)).view(-1, width, channels).to(dtype)
                means, slopes = torch.bmm(down.expand(len(lines), -1, -1), lines).view(2, -1, 2 * channels)
                target = gathered[band.lattice].flatten(0, 1)
                torch.addmm(bias, means, to_means, out=target).addmm_(slopes, to_slopes)
    field = layer.attention(field).to(dtype)
    orders = [each.to(dtype).split(2 * channels) for each in (layer.up.weight, layer.up.bias)]
    with torch.autocast("cpu", enabled=False):
        for sample, coefficients in zip(x, field, strict=True):
            for band in rows:
                source = coefficients[band.lattice].flatten(0, 1)
                local = source.new_empty(2, len(source), 2 * channels)
                for part, weight, bias in zip(local, *orders, strict=True):
                    torch.addmm(bias, source, weight.T, out=part)
                local = local.view(-1, 2 * lattice, channels)
                lines = torch.bmm(up.expand(len(local), -1, -1), local).to(x.dtype)
                sample[band.points].flatten(1).addmm_(band.expanding, lines.flatten(1))


def projected(norm: nn.Module, projection: nn.Module, x: Field) -> Float[Tensor, "batch height width out"]:
    """projection(norm(x)), by few points at a time."""
    return torch.cat([projection(norm(points)) for points in in_parts(x)]).unflatten(0, x.shape[:-1])
