"""An orthogonal map with global reach on a lattice: orthogonal matrices on 2×2 windows, level by level.

On m × m cells, m = 2^k, with C channels each, level after level

    x ← S_l x                  a 4C×4C matrix on 2×2 windows shifted by a cell, so that they straddle the blocks
    (x, rest_l) ← D_l x        one on the blocks themselves: of 4C outputs the first C go down, 3C stay

until 2×2 cells are left, which one matrix T mixes; then back up, mirrored, x ← S'_l U_l (x, rest_l). Every factor is
orthogonal, so the whole is. Levels and windows are those of multipole attention (`pdebench_mano.mano.multipole`), with
a matrix in the place of attention. On a periodic lattice shifted windows go round; on another the cells of the rim are
in none of them, and pass.

What orthogonal factors did is undone by their transposes, so that nothing is kept for the derivative (Gomez et al.
2017, arXiv:1707.04585): with the output c and the error d there, (c, d) ← (Fᵀc, Fᵀd) walks back through the factors
F, and ∂/∂F = Σ d (Fᵀc)ᵀ.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Lattice = Float[Tensor, "batch rows columns channels"]
Windows = Float[Tensor, "batch window_rows window_columns four_channels"]
Factors = Float[Tensor, "factors four_channels four_channels"]

HAAR = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5], [0.5, -0.5, -0.5, 0.5]]
"""The wavelet transform of a 2×2 block (Haar 1910): its mean, then its differences."""


def shifts(cells: int) -> list[bool]:
    """Whether the windows of each factor are shifted, from the first factor to the last."""
    levels = cells.bit_length() - 2
    return [True, False] * levels + [False] + [False, True] * levels


def haar_factors(cells: int, mix: Float[Tensor, "channels channels"]) -> Factors:
    """Factors of the map that mixes the channels of each cell by `mix`: down and up are wavelets, shifts nothing."""
    shifted = shifts(cells)
    middle = len(shifted) // 2
    identity = torch.eye(len(mix), dtype=mix.dtype)
    down, nothing = torch.kron(torch.tensor(HAAR, dtype=mix.dtype), identity), torch.eye(4 * len(mix), dtype=mix.dtype)
    factors = [nothing if moved or i == middle else down if i < middle else down.mT for i, moved in enumerate(shifted)]
    top = max(middle, len(factors) - 2)  # the last factor that acts on every cell
    factors[top] = torch.kron(torch.eye(4, dtype=mix.dtype), mix) @ factors[top]
    return torch.stack(factors)


def through(
    x: Lattice,
    factors: Factors,
    periodic: bool,
    note: Callable[[int, Windows, Windows], None] = lambda factor, before, after: None,
) -> Lattice:
    """x from the first factor to the last; `note` sees the windows that each of them changed, before and after.

    With ``factors.mT.flip(0)`` this is the transposed map, which undoes that of `factors`.
    """
    rests: list[Tensor] = []
    middle = len(factors) // 2
    for i, (factor, shifted) in enumerate(zip(factors, shifts(x.shape[1]), strict=True)):
        if shifted:
            inner = x.roll((-1, -1), dims=(1, 2)) if periodic else x[:, 1:-1, 1:-1]
            before = blocks(inner)
        else:
            before = blocks(x) if i <= middle else torch.cat([x, rests.pop()], -1)
        after = before @ factor.mT
        note(i, before, after)
        if shifted and periodic:
            x = cells(after).roll((1, 1), dims=(1, 2))
        elif shifted:
            x = x.clone()
            x[:, 1:-1, 1:-1] = cells(after)
        elif i < middle:
            channels = x.shape[-1]
            x, rest = after[..., :channels], after[..., channels:]
            rests.append(rest)
        else:
            x = cells(after)
    return x


def derivative(c: Lattice, d: Lattice, factors: Factors, periodic: bool) -> Factors:
    """∂⟨d, M c⟩/∂F for every factor F of the map M, at input `c` and for errors `d` at its output."""
    gradient = torch.empty_like(factors)
    half = len(c)

    def note(factor: int, before: Tensor, after: Tensor) -> None:
        error, state = before[half:].flatten(0, 2), after[:half].flatten(0, 2)
        gradient[len(factors) - 1 - factor] = error.mT @ state

    through(torch.cat([through(c, factors, periodic), d]), factors.mT.flip(0), periodic, note)
    return gradient


def blocks(x: Lattice) -> Windows:
    """2×2 cells, row by row, each cell's channels together."""
    return x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)


def cells(windows: Windows) -> Lattice:
    """What `blocks` undoes."""
    return windows.unflatten(3, (2, 2, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
