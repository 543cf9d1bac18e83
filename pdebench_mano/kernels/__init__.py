"""Windowed multi-head attention: its definition, and faster forms of the same function.

`windows` defines it. `shifts` and `blocks` are plain PyTorch on any device that never copies
windows out: for stride 1, and for strides that divide the window.
"""

from collections.abc import Callable
from typing import Literal

from pdebench_mano.kernels.blocks import block_attention
from pdebench_mano.kernels.shifts import shifted_attention
from pdebench_mano.kernels.windows import Attended, Projections, starts, windows_attention

__all__ = ["form", "starts", "window_attention"]

Form = Literal["windows", "shifts", "blocks"]
FORMS: dict[Form, Callable[[Projections, int, int, int], Attended]] = {
    "windows": windows_attention,
    "shifts": shifted_attention,
    "blocks": block_attention,
}


def form(height: int, width: int, window: int, stride: int) -> Form:
    """The fastest form of window attention for a grid; small grids are not worth more than copying."""
    if min(height, width) < window or height * width <= 4 * window**2:
        return "windows"
    if stride == 1 < window <= 4:
        return "shifts"
    return "blocks" if window % stride == 0 and 4 <= stride < window else "windows"


def window_attention(qkv: Projections, heads: int, window: int, stride: int, using: Form | None = None) -> Attended:
    """softmax(q kᵀ/√d) v inside every window, averaged over the windows that hold a point.

    Parameters
    ----------
    qkv : (batch, height, width, 3 · heads · d) tensor
        Queries, keys and values of every grid point; each splits into heads.
    heads, window, stride : int
        Windows are window × window points, every `stride` points, and flush with the far edges.
    using : {"windows", "shifts", "blocks"}, optional
        The form to compute it in; by default the fastest.

    Returns
    -------
    (batch, height, width, heads · d) tensor
    """
    _, h, w, _ = qkv.shape
    return FORMS[using or form(h, w, window, stride)](qkv, heads, window, stride)
