"""AdamW for every parameter, or Muon for those that are linear maps.

AdamW (Loshchilov & Hutter 2019) treats a matrix as a list of numbers. Muon (Jordan et al. 2024, "Muon: an optimizer for
hidden layers in neural networks") moves it by the orthogonal polar factor of its momentum, so that a step changes the
output by as much in every direction:

    m ← μ m + (1 - μ) g
    W ← (1 - η λ) W - 0.2 η √max(rows, columns) polar(μ m + (1 - μ) g).

The factor, of Liu et al. 2025 (arXiv 2502.16982), makes entries move as far as AdamW would move them, so both take the
same learning rate. PyTorch's own Muon knows real matrices alone; here the kernel of a convolution is one too, a
spectral weight is one for every mode, and all matrices of one shape are orthogonalised together.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

LEAST = 16
"""A map with fewer inputs or outputs, such as a lift of three channels, is left to AdamW."""

MOMENTUM = 0.95
"""μ."""

NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan's iteration, which takes singular values from (0, 1] near to one in five rounds."""


def optimizers(
    name: Literal["adamw", "muon"],
    parameters: Sequence[nn.Parameter],
    lr: float,
    weight_decay: float,
    recorded: bool = False,
) -> list[Optimizer]:
    """What steps these parameters together; each of them belongs to one of the optimizers.

    Steps that are to be `recorded` as a CUDA graph have their learning rate in a tensor on the GPU.
    """
    maps = [p for p in parameters if name == "muon" and is_map(p)]
    others = [p for p in parameters if name == "adamw" or not is_map(p)]
    made: list[Optimizer] = []
    rate = torch.tensor(lr, device=parameters[0].device) if recorded else lr
    if maps:
        made.append(Muon(maps, lr=rate, weight_decay=weight_decay))
    if others:
        made.append(AdamW(others, lr=rate, weight_decay=weight_decay, capturable=recorded))
    return made


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give all parameters of an optimizer this learning rate, wherever it keeps it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def take_up(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load what an optimizer remembered, whether or not it was to be recorded then."""
    own = [{name: group[name] for name in ("lr", "capturable") if name in group} for group in optimizer.param_groups]
    groups = [saved | mine for saved, mine in zip(state["param_groups"], own, strict=True)]
    optimizer.load_state_dict(state | {"param_groups": groups})


def is_map(p: nn.Parameter) -> bool:
    """Whether a parameter is for Muon: a linear map with at least `LEAST` inputs and outputs."""
    return p.ndim > 1 and min(matrices(p).shape[1:]) >= LEAST


class Muon(Optimizer):
    """Steps along the polar factor of the momentum.

    Parameters
    ----------
    params : iterable of Parameter
        Linear maps, see `matrices`.
    lr, weight_decay : float
        η, or a tensor of it, and λ.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float | Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[matrices(p).shape[1:], p.dtype].append(p)
            for parameters in alike.values():
                self._step(parameters, group["lr"], group["weight_decay"])

    def _step(self, parameters: list[Tensor], lr: float | Tensor, weight_decay: float) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        means = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead = [matrices(each) for each in torch._foreach_lerp(gradients, means, MOMENTUM)]
        directions = polar(torch.cat(ahead))
        length = 0.2 * lr * max(directions.shape[1:]) ** 0.5
        if isinstance(length, Tensor):  # no kernel takes it as a factor
            directions, length = directions * length, 1.0
        parts = directions.split([len(each) for each in ahead])
        moves = [joined(part, p.shape) for part, p in zip(parts, parameters, strict=True)]
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_sub_(parameters, moves, alpha=length)


def matrices(weight: Tensor) -> Shaped[Tensor, "count rows columns"]:
    """A weight seen as the matrices it is made of.

    One for a matrix or a kernel (out, in, …); one for every mode of a spectral weight, which is complex,
    (in, out, modes, …).
    """
    if weight.is_complex() and weight.ndim > 2:
        return weight.reshape(*weight.shape[:2], -1).movedim(2, 0)
    return weight.reshape(1, weight.shape[0], -1)


def joined(m: Shaped[Tensor, "count rows columns"], shape: Sequence[int]) -> Tensor:
    """The weight of this shape that is made of these matrices."""
    return m.movedim(0, 2).reshape(shape)


def polar(m: Shaped[Tensor, "count rows columns"]) -> Shaped[Tensor, "count rows columns"]:
    """U S Vᴴ of the singular value decompositions U Σ Vᴴ, S between 0.65 and 1.25 where Σ is not too small.

    On a GPU matrices are iterated in bfloat16, where products are fast, complex ones as the real ones they amount to.
    """
    wide = m if m.shape[1] <= m.shape[2] else m.mH
    x = wide.bfloat16() if m.is_cuda and not m.is_complex() else wide
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    if m.is_cuda and m.is_complex():
        x = complex_form(iterated(real_form(x).bfloat16()).to(m.real.dtype))
    else:
        x = iterated(x)
    return (x if m.shape[1] <= m.shape[2] else x.mH.resolve_conj()).to(m.dtype)


def iterated(x: Shaped[Tensor, "count rows columns"]) -> Shaped[Tensor, "count rows columns"]:
    """Five rounds of Newton and Schulz, on matrices of norm 1 or less."""
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.mH
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def real_form(m: Shaped[Tensor, "count rows columns"]) -> Shaped[Tensor, "count twice_rows twice_columns"]:
    """Complex matrices as real ones, whose sums and products are those of the complex ones."""
    top, bottom = torch.cat([m.real, -m.imag], 2), torch.cat([m.imag, m.real], 2)
    return torch.cat([top, bottom], 1)


def complex_form(m: Shaped[Tensor, "count twice_rows twice_columns"]) -> Shaped[Tensor, "count rows columns"]:
    """What `real_form` is of."""
    rows, columns = m.shape[1] // 2, m.shape[2] // 2
    return torch.complex(m[:, :rows, :columns].contiguous(), m[:, rows:, :columns].contiguous())
