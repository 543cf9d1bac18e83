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

Matrices = Inexact[Tensor, "*stack rows columns"]


def _gram_defect(w: Matrices) -> Inexact[Tensor, "*stack rows rows"]:
    return w @ w.mH - torch.eye(w.shape[-2], dtype=w.dtype, device=w.device)


def polar_factor(w: Matrices) -> Matrices:
    """Nearest matrices with orthonormal rows (columns, where there are more rows than columns)."""
    left, _, right = torch.linalg.svd(w, full_matrices=False)
    return left @ right


def retraction(w: Matrices) -> Matrices:
    """The polar factors of matrices near orthonormal ones, to round-off.

    Parameters
    ----------
    w : (*stack, rows, columns) tensor, real or complex
        Matrices that a training step has moved off their constraint. Where one is not finite
        all are returned as they came: no constraint is nearest.

    Returns
    -------
    (*stack, rows, columns) tensor
        Orthonormal rows, or columns where there are fewer of them.
    """
    if w.shape[-2] > w.shape[-1]:
        return retraction(w.mH).mH
    defect = _gram_defect(w)
    distance = torch.linalg.matrix_norm(defect).max().item()
    if not math.isfinite(distance):
        return w
    if distance >= 0.5:
        return polar_factor(w)
    while distance > torch.finfo(w.dtype).eps:
        w = w - 0.5 * defect @ w
        distance = 0.75 * distance**2 + 0.25 * distance**3
        defect = _gram_defect(w)
    return w


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


def orthogonality_residual(w: Matrices) -> float:
    """Largest |σ² - 1| over the singular values σ: how far from an isometry, at worst."""
    singular = torch.linalg.svdvals(w)
    return (singular.square() - 1).abs().max().item()
