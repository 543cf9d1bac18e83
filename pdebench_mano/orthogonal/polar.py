"""Back onto the orthogonal (unitary) matrices.

The polar factor of W is the nearest matrix with orthonormal rows or columns. The
iteration of Björck & Bowie (1971),

    W ← W - ½ E W,   E = W Wᴴ - I,   turning E into -¾E² + ¼E³,

needs matrix products alone and squares the distance at each step. The last formula
tells beforehand how many steps are needed; too far away (‖E‖ ≥ ½) the singular value
decomposition gives the polar factor directly.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Inexact
from torch import Tensor

Matrices = Inexact[Tensor, "stack rows columns"]


def polar_factor(w: Matrices) -> Matrices:
    """Nearest matrices with orthonormal rows (columns, where there are more rows than columns)."""
    try:
        left, _, right = torch.linalg.svd(w, full_matrices=False)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # stalls now and then where singular values cluster
        fine = w.mH.to(torch.promote_types(w.dtype, torch.float64))
        left, _, right = torch.linalg.svd(fine, full_matrices=False)
        return (left @ right).mH.to(w.dtype)
    return left @ right


def retraction(w: Matrices) -> Matrices:
    """The polar factors of matrices near orthonormal ones, to round-off.

    Parameters
    ----------
    w : (stack, rows, columns) tensor, real or complex
        Matrices that a training step has moved off their constraint. Where one is not finite
        all are returned as they came: no constraint is nearest.

    Returns
    -------
    (stack, rows, columns) tensor
        Orthonormal rows, or columns where there are fewer of them.

    Notes
    -----
    A GPU would have to be waited for to learn how far away the matrices are. There four steps are taken in any
    case, which is enough for ‖E‖ < ½; beyond 1 matrices are first scaled to where the iteration converges, and
    what four steps leave is for the next retraction.
    """
    if w.shape[1] > w.shape[2]:
        return retraction(w.mH).mH
    distance = torch.linalg.vector_norm(_defect(w), dim=(1, 2), keepdim=True)
    if w.is_cuda:
        return _iterate(w * torch.where(distance > 1, (1 + distance).rsqrt(), 1), 4)
    worst = distance.max().item()
    if not math.isfinite(worst):
        return w
    return _iterate(w, _steps(worst, torch.finfo(w.dtype).eps)) if worst < 0.5 else polar_factor(w)


@torch.no_grad()
def retract_(matrices: Iterable[Tensor]) -> None:
    """Replace each stack of matrices, in place, by its retraction; those of one shape together, as one batch."""
    shapes: dict[tuple[torch.dtype, torch.Size], list[Tensor]] = {}
    for w in matrices:
        shapes.setdefault((w.dtype, w.shape[-2:]), []).append(w.view(-1, *w.shape[-2:]))
    for group in shapes.values():
        retracted = retraction(torch.cat(group)).split([len(w) for w in group])
        for w, new in zip(group, retracted, strict=True):
            w.copy_(new)


def orthogonality_residual(w: Inexact[Tensor, "*stack rows columns"]) -> float:
    """Largest |σ² - 1| over the singular values σ: how far from an isometry, at worst."""
    singular = torch.linalg.svdvals(w)
    return (singular.square() - 1).abs().max().item()


def _defect(w: Matrices) -> Inexact[Tensor, "stack rows rows"]:
    return torch.baddbmm(torch.eye(w.shape[1], dtype=w.dtype, device=w.device), w, w.mH, beta=-1)


def _iterate(w: Matrices, steps: int) -> Matrices:
    for _ in range(steps):
        w = torch.baddbmm(w, _defect(w), w, alpha=-0.5)
    return w


def _steps(distance: float, tolerance: float) -> int:
    """How many steps bring ‖E‖ from `distance` below `tolerance`."""
    steps = 0
    while distance > tolerance:
        distance = 0.75 * distance**2 + 0.25 * distance**3
        steps += 1
    return steps
