"""Which form of window attention serves; how to force one."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pdebench_mano.mano.kernels.blocks import block_attention
from pdebench_mano.mano.kernels.shifts import shifted_attention
from pdebench_mano.mano.kernels.windows import Attended, Projections, windows_attention

Form = Literal["windows", "shifts", "blocks", "triton", "fused"]
FORMS: tuple[Form, ...] = get_args(Form)

_forced: ContextVar[Form | None] = ContextVar("form of window attention", default=None)


@contextmanager
def using(form: Form) -> Iterator[None]:
    """Force a form within a ``with`` statement; where it cannot serve, ValueError says why.

    `fused` makes a layer one function of Triton kernels; any other form leaves its modules to PyTorch.
    Grids smaller than the window have one window, and are left to the definition.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    token = _forced.set(form)
    try:
        yield
    finally:
        _forced.reset(token)


def forced() -> Form | None:
    """The form that `using` forces here, if any."""
    return _forced.get()


@cache
def _triton() -> bool:
    return importlib.util.find_spec("triton") is not None


class Place(NamedTuple):
    """Where a computation runs, and in which type."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> "Place":
        """The device of `x`, and the type that autocast gives its matrix products."""
        kind = x.device.type
        return cls(x.device, torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype)

    def obstacle(self) -> str | None:
        """Why Triton kernels cannot run here, or None."""
        if not _triton():
            return "Triton is not installed"
        if self.device.type != "cuda":
            interpreted = self.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
            return None if interpreted else f"Triton needs a CUDA device, not {self.device.type}"
        if self.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            return f"there are no Triton kernels for {str(self.dtype).removeprefix('torch.')}"
        if torch.cuda.get_device_capability(self.device) < (8, 0):
            return "Triton kernels need compute capability 8.0"
        return None


def form_of(place: Place, height: int, width: int, window: int, stride: int) -> Form:
    """The form of window attention on one grid."""
    if min(height, width) < window:
        return "windows"
    if (form := forced()) is not None:
        return "triton" if form == "fused" else form
    if place.device.type == "cuda" and window <= 16 and place.obstacle() is None:
        return "triton"
    if height * width <= 4 * window**2:
        return "windows"  # too small to be worth more than a copy
    if stride == 1 < window <= 4:
        return "shifts"
    flash = place.device.type == "cpu" and not torch.is_grad_enabled()  # computes shared scores again, but keeps none
    return "blocks" if window % stride == 0 and 4 <= stride < window and not flash else "windows"


@torch.compiler.disable
def window_attention(qkv: Projections, heads: int, window: int, stride: int, form: Form | None = None) -> Attended:
    """softmax(q kᵀ/√d) v inside every window, averaged over the windows that hold a point.

    Parameters
    ----------
    qkv : (batch, height, width, 3 · heads · d) tensor
        Queries, keys and values of every grid point; each splits into heads.
    heads, window, stride : int
        Windows are window × window points, every `stride` points, and flush with the far edges.
    form : {"windows", "shifts", "blocks", "triton"}, optional
        The form to compute it in; by default the one that `using` forces, or the fastest.

    Returns
    -------
    (batch, height, width, heads · d) tensor

    Raises
    ------
    ValueError
        If a forced form cannot serve the geometry, the device or the type.
    """
    place = Place(qkv.device, qkv.dtype)
    form = form or form_of(place, qkv.shape[1], qkv.shape[2], window, stride)
    if form == "triton":
        if why := place.obstacle():
            raise ValueError(f"form 'triton' cannot serve: {why}")
        from pdebench_mano.mano.kernels.gpu.attention import triton_attention

        return triton_attention(qkv, heads, window, stride)
    plain = {"windows": windows_attention, "shifts": shifted_attention, "blocks": block_attention}
    with torch.autocast(qkv.device.type, enabled=False):  # each form chooses its types itself
        return plain[form](qkv, heads, window, stride)
