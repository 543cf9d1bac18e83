"""How the time and memory of operators grow with the number of grid points.

A training step is forward, relative L2 loss, backward and AdamW; inference is a forward pass without
gradients. Times are medians; the memory of a step is what its tensors hold at the peak beyond weights,
batch and optimizer state. Slopes are those of least squares in log-log axes: 1 is linear.
"""

import json
import math
import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from data_gen.counts import check_count
from data_gen.storage import atomic, leftovers, locked, read_json, to_json, write_text
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.graphs import recorded_gradients
from pdebench_mano.machine.provenance import environment
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.report.figures import MARKERS, PALETTE, literally
from pdebench_mano.training.losses import relative_l2

LOCK = ".lock"
PUBLISHED = {"mano-unfolded": "pdebench_mano.mano.unfolded:UnfoldedMANO"}
NAMES = (*OPERATORS, *PUBLISHED)
QUANTITIES = {"step_ms": "training step (ms)", "inference_ms": "inference (ms)", "peak_mb": "memory of a step (MB)"}


@dataclass(frozen=True)
class Settings:
    """What all measurements of a table share.

    Attributes
    ----------
    device : str
        ``cpu`` or ``cuda``.
    precision : str
        ``float32``, or ``bfloat16`` by autocast.
    batch_size, repeats : int
        Samples of a batch; calls of which the median is taken.
    cuda_graphs : bool
        Replay the recorded gradients of a step, as ``train --cuda-graphs`` does.

    Raises
    ------
    ValueError
        If a value is out of range, or there is no such device.
    """

    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 1
    repeats: int = 5
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        chosen(self.device)
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, got {self.precision!r}")
        for name in ("batch_size", "repeats"):
            check_count(name, getattr(self, name))


@dataclass(frozen=True)
class Measurement:
    """One operator on one grid; what could not be measured is NaN, and `note` says why."""

    operator: str
    resolution: int
    points: int
    parameters: int
    step_ms: float
    inference_ms: float
    peak_mb: float
    note: str = ""


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that operations have made and nobody has freed."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        there = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if not isinstance(each, Tensor):
                continue
            storage = each.untyped_storage()
            if storage._cdata not in self.known | there:
                self.known.add(storage._cdata)
                self.bytes += storage.nbytes()
                self.peak = max(self.peak, self.bytes)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return result

    def _free(self, storage: int, size: int) -> None:
        self.known.discard(storage)
        self.bytes -= size


def lost(device: str) -> bool:
    """Whether a GPU refuses all further work of this process, as it does after an illegal access."""
    if device == "cuda":
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
    return False


def peak_memory(step: Callable[[], object], device: str) -> int:
    """Bytes that `step` needs at its peak beyond what is there before."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with _Live() as live:
        step()
    return live.peak


def median_ms(call: Callable[[], object], settings: Settings) -> float:
    """Median time of a call, after one that is not counted."""

    def wait() -> None:
        if settings.device == "cuda":
            torch.cuda.synchronize()

    call()
    wait()
    times = []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure(name: str, resolution: int, settings: Settings) -> Measurement:
    """Time and memory of one operator, by name and with default arguments, on a resolution × resolution grid.

    An operator that cannot serve the grid, or runs out of memory, has a row that says so.
    """
    operator = build_operator(PUBLISHED.get(name, name), 1, 1).to(settings.device)
    parameters = sum(p.numel() * (1 + p.is_complex()) for p in operator.parameters())
    costs, note = (np.nan, np.nan, np.nan), ""
    try:
        costs = _costs(operator, resolution, settings)
    except torch.OutOfMemoryError:
        note = "out of memory"
    except (ValueError, RuntimeError) as error:
        note = " ".join(str(error).split())[:200]
    return Measurement(name, resolution, resolution**2, parameters, *costs, note)


def _costs(operator: nn.Module, resolution: int, settings: Settings) -> tuple[float, float, float]:
    """Milliseconds of a step and of an inference, and megabytes of a step."""
    shape = (settings.batch_size, 1, resolution, resolution)
    a, u = (torch.randn(shape, device=settings.device) for _ in "au")
    parameters = list(operator.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    autocast = torch.autocast(settings.device, torch.bfloat16, enabled=settings.precision == "bfloat16")

    def gradients(a: Tensor, u: Tensor) -> Tensor:
        with autocast:
            value = relative_l2(operator(a).float(), u)
        value.backward()
        return value.detach()

    run = recorded_gradients(gradients, parameters) if settings.cuda_graphs and settings.device == "cuda" else gradients

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        run(a, u)
        optimizer.step()

    @torch.no_grad()
    def inference() -> None:
        with autocast:
            operator(a)

    optimizer.zero_grad(set_to_none=True)
    gradients(a, u)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    peak = peak_memory(lambda: gradients(a, u), settings.device)
    return median_ms(step, settings), median_ms(inference, settings), peak / 1e6


def scaling(names: Sequence[str], resolutions: Sequence[int], settings: Settings, out: Path) -> Iterator[Measurement]:
    """Measure every operator at every resolution into ``out/scaling.csv``; what is there already is not repeated.

    Yields each row as it is done; at the end ``scaling.json`` (settings, device, versions, slopes) and the figure
    ``scaling.png`` are written beside it.

    Raises
    ------
    ValueError
        If an operator is unknown, a resolution is below 2, or `out` holds measurements under other settings.
    FileExistsError
        If another process measures there.
    RuntimeError
        If a measurement has left a GPU that takes no further work of this process; its row says why.
    """
    for name in names:
        build_operator(PUBLISHED.get(name, name), 1, 1)
    if min(resolutions) < 2:
        raise ValueError(f"resolutions must be at least 2, got {min(resolutions)}")
    description = {"settings": asdict(settings), "environment": environment()}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / LOCK, out):
        yield from _measured(names, resolutions, settings, out, description)


def _measured(
    names: Sequence[str], resolutions: Sequence[int], settings: Settings, out: Path, description: dict[str, Any]
) -> Iterator[Measurement]:
    table, about = out / "scaling.csv", out / "scaling.json"
    if lexists(about):
        known = read_json(about)
        if {key: known.get(key) for key in description} != description:
            raise ValueError(f"{out} holds measurements under other settings or versions: choose another folder")
    elif {*out.iterdir()} - {out / LOCK, *leftovers(out)}:
        raise ValueError(f"{out} holds something else: choose another folder")
    write_text(about, json.dumps(description, indent=1))
    rows = read_table(table) if lexists(table) else pd.DataFrame(columns=[each.name for each in fields(Measurement)])
    for name in names:
        for resolution in sorted(resolutions):
            if ((rows.operator == name) & (rows.resolution == resolution)).any():
                continue
            row = measure(name, resolution, settings)
            rows = pd.DataFrame([*rows.to_dict("records"), asdict(row)])
            write_text(table, rows.to_csv(index=False))
            yield row
            if row.note and lost(settings.device):
                raise RuntimeError(
                    f"{name} at {resolution}² left a GPU that computes no more for this process: "
                    "the same command goes on with the others"
                )
    write_text(about, to_json(description | {"slopes": slopes(rows).to_dict("index")}, indent=1))
    with atomic(out / "scaling.png") as drawn:
        figure(rows, description).savefig(drawn, dpi=200)


def read_table(path: Path) -> pd.DataFrame:
    """The measurements of ``scaling.csv``.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if missing := {each.name for each in fields(Measurement)} - set(table.columns):
        raise ValueError(f"{path} is damaged, or another program's: it lacks {', '.join(sorted(missing))}")
    return table.assign(note=table.note.astype("object").where(table.note.notna(), ""))


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """d log(quantity)/d log(points) of every operator, by least squares over its grids; NaN with fewer than two."""

    def slope(rows: pd.DataFrame, quantity: str) -> float:
        rows = rows[rows[quantity] > 0]
        if rows.points.nunique() < 2:
            return float("nan")
        return float(np.polyfit(np.log(rows.points), np.log(rows[quantity].astype(float)), 1)[0])

    return pd.DataFrame(
        {name: {quantity: slope(rows, quantity) for quantity in QUANTITIES} for name, rows in table.groupby("operator")}
    ).T


def figure(table: pd.DataFrame, description: dict[str, Any]) -> Figure:
    """Every quantity against the number of grid points, log-log, with slopes in the legends."""
    drawing = Figure(figsize=(6.4, 9.6), layout="constrained")
    slope = slopes(table)
    points = sorted(table.points.unique())
    for axis, (quantity, label) in zip(drawing.subplots(len(QUANTITIES)), QUANTITIES.items(), strict=True):
        for i, (name, rows) in enumerate(table.groupby("operator", sort=False)):
            drawn = rows[rows[quantity] > 0].sort_values("points")
            text = f"{name}, {slope[quantity][str(name)]:.2f}" if len(drawn) > 1 else str(name)
            style = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
            axis.loglog(drawn.points, drawn[quantity], label=literally(text), **style)
        axis.set_xticks(points, [f"{math.isqrt(n)}²" for n in points])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylabel(label)
        axis.legend(fontsize=8, title="operator, slope", title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        axis.grid(alpha=0.3)
    settings = description["settings"]
    graphs = ", CUDA graphs" if settings["cuda_graphs"] else ""
    device = literally(description["environment"]["device"])
    where = f"{device}, {settings['precision']}, batch {settings['batch_size']}{graphs}"
    axis.set_xlabel(f"grid points\n{where}")
    return drawing
