"""The contract of a neural operator, as checks that anyone can run on their own.

    for check in contract(MyOperator(in_channels=1, out_channels=1)):
        print(check)

An operator is any module that maps fields (batch, channels, height, width) to fields on the same grid, whatever the
grid; it needs no base class. Every check reports what it measured, and an exception inside one is that check's failure.
"""

import copy
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from data_gen.grid import Kind
from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.fields.operator import Fields, coordinates, live_on

GRIDS = {"odd": (17, 17), "even": (20, 20), "non-square": (17, 24)}
RESOLUTIONS = (17, 33, 65)
INTERVALS = (32, 64, 128, 256)
ROUNDING = 1e-5
"""Relative differences below it are float32 rounding and may grow."""


@dataclass(frozen=True)
class Check:
    """One clause of the contract: its name, whether it holds, and what was seen."""

    name: str
    holds: bool
    detail: str

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'FAILS'}  {self.name}: {self.detail}"


def contract(
    operator: nn.Module,
    in_channels: int = 1,
    out_channels: int = 1,
    trained: NormalizedOperator | None = None,
    grid: Kind | None = None,
) -> Iterator[Check]:
    """Check an operator, clause by clause.

    Parameters
    ----------
    operator : nn.Module
        Takes `in_channels` channels and gives `out_channels`; left as it was.
    in_channels, out_channels : int
    trained : NormalizedOperator, optional
        A trained one, for a refinement study of what training made of it.
    grid : {"vertices", "left", "periodic"}, optional
        Kind of grid that the checks are made on; its own by default.

    Yields
    ------
    Check
    """
    operator = copy.deepcopy(operator).cpu().eval()
    if grid is not None:
        live_on(operator, grid)
    clauses: list[tuple[str, Callable[[], str]]] = [
        *(
            (f"{name} grids", partial(same_grid, operator, in_channels, out_channels, shape))
            for name, shape in GRIDS.items()
        ),
        ("same parameters at three resolutions", lambda: same_parameters(operator, in_channels, out_channels)),
        ("samples of a batch alone", lambda: alone(operator, in_channels)),
        ("gradient of every parameter", lambda: every_gradient(operator, in_channels)),
        ("state-dict round trip", lambda: state_dict_round_trip(operator, in_channels)),
        ("refinement at initialisation", lambda: refinement(operator, in_channels)),
    ]
    if trained is not None:
        clauses.append(("refinement after training", lambda: refinement(trained, len(trained.encoder.mean))))
    for name, clause in clauses:
        try:
            yield Check(name, True, clause())
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            yield Check(name, False, words if isinstance(error, Broken) else f"{type(error).__name__}: {words}")


class Broken(AssertionError):
    """A clause does not hold."""


def require(condition: bool, message: str) -> None:
    """Raise `Broken` unless `condition`."""
    if not condition:
        raise Broken(message)


def sample(batch: int, channels: int, shape: tuple[int, int]) -> Fields:
    """Reproducible normal noise."""
    return torch.randn(batch, channels, *shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def same_grid(operator: nn.Module, channels: int, out_channels: int, shape: tuple[int, int]) -> str:
    """Fields come out on the grid they went in on, with the channels that were asked for, and finite."""
    a = sample(2, channels, shape)
    u = operator(a)
    require(tuple(u.shape) == (2, out_channels, *shape), f"{tuple(a.shape)} became {tuple(u.shape)}")
    require(bool(u.isfinite().all()), f"not finite on {shape}")
    return f"{shape[0]}×{shape[1]}"


@torch.no_grad()
def same_parameters(operator: nn.Module, channels: int, out_channels: int) -> str:
    """No resolution adds, removes, reshapes or changes anything in the state."""
    before = {name: value.clone() for name, value in operator.state_dict().items()}
    for n in RESOLUTIONS:
        same_grid(operator, channels, out_channels, (n, n))
        after = operator.state_dict()
        require(before.keys() == after.keys(), f"{sorted(before.keys() ^ after.keys())} came or went at {n}²")
        changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
        require(not changed, f"{', '.join(changed)} changed at {n}²")
    return ", ".join(f"{n}²" for n in RESOLUTIONS)


@torch.no_grad()
def alone(operator: nn.Module, channels: int) -> str:
    """f(a)[i] = f(a[i]): no sample sees the others of its batch, nor its place among them."""
    a = sample(3, channels, GRIDS["odd"])
    u = operator(a)
    error = relative(torch.cat([operator(each[None]) for each in a]) - u, u)
    require(error < ROUNDING, f"relative difference {error:.1e}")
    return f"relative difference {error:.1e}"


def every_gradient(operator: nn.Module, channels: int) -> str:
    """Each trainable parameter gets a finite gradient from one step of training, and one that is not all zeros."""
    model = copy.deepcopy(operator).train()
    model(sample(2, channels, GRIDS["even"])).square().mean().backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    missing = [name for name, p in trainable.items() if p.grad is None]
    require(bool(trainable), "there is no trainable parameter")
    require(not missing, f"none for {', '.join(missing)}")
    bad = [name for name, p in trainable.items() if p.grad is not None and not p.grad.isfinite().all()]
    require(not bad, f"not finite for {', '.join(bad)}")
    dead = [name for name, p in trainable.items() if p.grad is not None and not p.grad.any()]
    require(not dead, f"zero for {', '.join(dead)}")
    return f"{len(trainable)} tensors"


@torch.no_grad()
def state_dict_round_trip(operator: nn.Module, channels: int) -> str:
    """The state is plain tensors, loads with ``weights_only=True``, and determines the output."""
    a = sample(1, channels, GRIDS["odd"])
    model = copy.deepcopy(operator)
    state = model.state_dict()
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    require(not foreign, f"{', '.join(foreign)} is no tensor")
    file = io.BytesIO()
    torch.save(state, file)
    for p in model.parameters():
        p.add_(1.0)
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True))
    require(torch.equal(model(a), operator(a)), "other outputs after loading")
    return f"{len(state)} tensors, {file.getbuffer().nbytes / 1e6:.1f} MB"


@torch.no_grad()
def refinement(operator: nn.Module, channels: int) -> str:
    """Predictions for one smooth coefficient approach one another as the grid is refined.

    Compared at the points of the coarsest grid, which all hold; the rate between successive differences d, d' is
    log₂(d/d'). Differences that grow mean that the operator is another one on every grid; rates well below 1, that it
    comes to its answer slowly, and that its error on a finer grid may be far from that on the training grid.
    """
    grid: Kind = getattr(operator, "grid", "vertices")
    ends = 1 if grid == "vertices" else 0
    predict = operator.predict if isinstance(operator, NormalizedOperator) else operator
    values = []
    for intervals in INTERVALS:
        a = smooth_coefficient(intervals + ends, grid).expand(1, channels, -1, -1)
        if isinstance(operator, NormalizedOperator):
            a = operator.encoder.decode(a.to(operator.encoder.mean.device)).cpu()
        stride = intervals // INTERVALS[0]
        values.append(predict(a)[..., ::stride, ::stride].double())
    steps = [relative(fine - coarse, values[-1]) for coarse, fine in pairwise(values)]
    rates = [math.log2(d / e) if d > 0 and e > 0 else math.inf for d, e in pairwise(steps)]
    if max(steps) < ROUNDING:
        return f"differences below {ROUNDING:.0e}: the grid changes nothing"
    points = "→".join(f"{n + ends}²" for n in INTERVALS)
    detail = (
        f"differences {', '.join(f'{d:.1e}' for d in steps)} over {points}, "
        f"observed rates {', '.join(f'{r:.2f}' for r in rates)}"
    )
    grows = any(e > max(d, ROUNDING) for d, e in pairwise(steps))
    require(not grows and all(map(math.isfinite, steps)), f"{detail}: the differences grow")
    return detail


def smooth_coefficient(points: int, grid: Kind) -> Fields:
    """Two waves and a slope, of about unit variance, on a square grid; on a periodic one the waves go round."""
    x, y = coordinates(points, points, grid)
    if grid == "periodic":
        x, y = 2 * math.pi * x, 2 * math.pi * y
        return (torch.sin(x + 1) * torch.cos(y) + torch.sin(2 * y - x))[None, None]
    return (torch.sin(3 * x + 1) * torch.cos(4 * y) + torch.sin(5 * y - 2 * x) + x - 0.5)[None, None]


def relative(difference: Tensor, reference: Tensor) -> float:
    """‖difference‖ / ‖reference‖ over everything, of two (batch, channels, height, width) tensors."""
    return (difference.norm() / reference.norm().clamp(min=torch.finfo(reference.dtype).tiny)).item()
