"""What an orthogonal layer is: an isometry that knows its adjoint and its parameters' gradient.

Forward-only regimes train chains of such layers without differentiating them: `lin`
carries errors forward, `adj` undoes it, `param_grad` turns an error at the output
and the input that caused it into an update.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdebench_mano.fields.operator import OnGrid
from pdebench_mano.orthogonal.polar import orthogonality_residual, retract_

Input = Float[Tensor, "batch inputs *grid"]
Output = Float[Tensor, "batch outputs *grid"]


class OrthogonalLayer(OnGrid):
    """z ↦ L z + b, with L L* = I (or L* L = I, where it expands).

    Parameters
    ----------
    in_features, out_features : int
        Channels in and out; a layer that keeps the grid is an isometry point by point or mode by mode.
    bias : bool
        Whether a constant is added to each output channel.
    constrained : bool
        Whether `retract` brings the parameters back; if not, L starts orthogonal and is free to leave.

    Raises
    ------
    ValueError
        For fewer than one channel in or out.
    """

    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, bias: bool, constrained: bool) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError(f"a layer needs at least one channel in and out, got {in_features} → {out_features}")
        self.in_features, self.out_features, self.constrained = in_features, out_features, constrained
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, z: Input) -> Output:
        y = self.lin(z)
        return y if self.bias is None else y + self.bias.reshape(-1, *(1,) * (z.ndim - 2))

    def lin(self, z: Input) -> Output:
        """L z, the linear part, as a new tensor."""
        raise NotImplementedError

    def adj(self, v: Output) -> Input:
        """L* v: ⟨L z, v⟩ = ⟨z, L* v⟩, as a new tensor, which regimes change in place.

        Products are plain sums, unless a layer says otherwise: see `pdebench_mano.orthogonal.weighted`.
        """
        raise NotImplementedError

    def param_grad(self, delta: Output, z: Input) -> dict[str, Tensor]:
        """Gradient of ⟨delta, L z + b⟩, summed over the batch, by each parameter's name."""
        axes = [axis for axis in range(delta.ndim) if axis != 1]
        return {} if self.bias is None else {"bias": delta.sum(axes)}

    def matrices(self) -> list[Tensor]:
        """Views of the parameters that must have orthonormal rows or columns, as stacks of matrices."""
        return []

    @torch.no_grad()
    def retract(self) -> None:
        """Bring the parameters back onto their constraint, if there is one to keep."""
        if self.constrained:
            retract_(self.matrices())

    @torch.no_grad()
    def orthogonality_residual(self) -> float:
        """Largest |σ² - 1| over the singular values σ of L."""
        return max(orthogonality_residual(w) for w in self.matrices())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "OrthogonalLayer":
        """Converted to a finer type, the parameters are brought onto the constraint to its round-off."""
        before = next(self.parameters()).dtype
        super()._apply(fn, recurse)
        if torch.finfo(next(self.parameters()).dtype).eps < torch.finfo(before).eps:
            self.retract()
        return self

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, constrained={self.constrained}"
