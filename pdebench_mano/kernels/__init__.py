"""Windowed multi-head attention: its definition, and faster forms of the same function."""

from pdebench_mano.kernels.windows import starts, window_attention

__all__ = ["starts", "window_attention"]
