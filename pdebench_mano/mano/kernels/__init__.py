"""Windowed multi-head attention: its definition, and faster forms of the same function.

- `windows`: the definition; windows copied out, attended, averaged. Anywhere, any type.
- `shifts`: plain PyTorch without copies, for stride 1. Anywhere, any type.
- `blocks`: plain PyTorch, each score computed once, where the stride divides the window. Anywhere, any type.
- `triton`: one kernel by tiles, and two without atomics backward. CUDA; float32 (exact), bfloat16, float16.
- `fused`: `triton`, with LayerNorms, projections, sampling and mlp in kernels too. CUDA; bfloat16, float16.

The fastest that serves is taken; `using` forces one, `explain` tells which and why.
"""

from pdebench_mano.mano.kernels.selection import FORMS, Form, using, window_attention
from pdebench_mano.mano.kernels.windows import starts

__all__ = [
    "FORMS",
    "Form",
    "starts",
    "using",
    "window_attention",
]
