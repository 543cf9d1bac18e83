"""Train an operator on pairs of fields, in place."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from pdebench_mano.fields.data import View
from pdebench_mano.fields.steps import Steps
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.orthogonal import OrthogonalLayer
from pdebench_mano.training.history import History
from pdebench_mano.training.loop import Loop
from pdebench_mano.training.options import Training
from pdebench_mano.training.regimes import TrainingRegime
from pdebench_mano.training.unrolling import unrolled

Data = Dataset[Any] | Sequence[Dataset[Any]]


def fit(
    operator: nn.Module,
    regime: TrainingRegime,
    data: Data,
    *,
    validation: Dataset[Any] | None = None,
    out: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: Progress = silent,
    watch: Callable[[dict[str, int | float]], None] | None = None,
    **options: Any,
) -> History:
    """Train `operator` in place and leave it with the weights of its best epoch.

    Parameters
    ----------
    operator : nn.Module
        Usually a `NormalizedOperator`, see `normalized`.
    regime : TrainingRegime
        Fills the gradients.
    data : dataset of pairs (a, u), or several
        Several datasets hold the same samples at different resolutions; each step takes one of them.
    validation : dataset, optional
        The epoch with the lowest mean relative L2 on it is kept, see `validate`; without one, the last epoch is.
    out : path, optional
        Folder for ``checkpoint.pt``, from which the same call goes on, ``best.pt``, and ``history.csv``, which has a
        row for each epoch that has ended.
    device : optional
        CUDA where there is one, else the CPU.
    progress : callable
        Told how many steps are done and of how many, or seconds where these are the budget; see
        `pdebench_mano.machine.progress`.
    watch : callable, optional
        Told each row of the history, once its epoch is saved.
    **options
        Fields of `Training`: ``epochs``, ``batch_size``, ``lr``, ``seed``, …

    Raises
    ------
    TypeError
        If the regime cannot train this operator.
    ValueError
        For a bad option or device; `Diverged` if the loss stops being finite.
    """
    settings = Training(**options)
    regime.check(unrolled(operator, settings))
    if settings.optimizer == "muon" and any(isinstance(module, OrthogonalLayer) for module in operator.modules()):
        raise ValueError("optimizer='muon' does not know the matrices of orthogonal layers; 'adamw' is allowed here")
    datasets = [data] if isinstance(data, Dataset) else list(data)
    if len({len(each) for each in datasets}) != 1 or len(datasets[0]) == 0:  # type: ignore[arg-type]
        raise ValueError(f"data must hold the same samples, at least one: {[len(each) for each in datasets]}")  # type: ignore[arg-type]
    check_steps(settings, datasets)
    device = chosen(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _seed(settings.seed, device)
        loop = Loop(operator.to(device), regime, datasets, validation, settings, device, Path(out) if out else None)
        loop.watch = watch
        held = [each for each in (*datasets, validation) if isinstance(each, View)]
        try:
            for each in held:
                each.hold(device)
            loop.run(progress)
        finally:
            for each in held:
                each.hold(torch.device("cpu"))
    return loop.history


def check_steps(settings: Training, datasets: Sequence[Dataset[Any]]) -> None:
    """Refuse options of steps for other pairs, and to unroll more steps than there are.

    Raises
    ------
    ValueError
        Names the option.
    """
    asked = {"unroll": settings.unroll != 1, "detach": settings.detach, "noise": settings.noise != 0}
    for data in datasets:
        if not isinstance(data, Steps):
            if given := [name for name, value in asked.items() if value]:
                raise ValueError(f"{given[0]}={getattr(settings, given[0])} is of steps in time: it needs pairs='step'")
        elif data.windows(settings.unroll) == 0:
            steps = f"the {len(data.times)} steps of {data.path}"
            raise ValueError(f"unroll must be at most {steps}, got {settings.unroll}")


def _seed(seed: int, device: torch.device) -> None:
    """Seed what draws on the CPU and on a device; `torch.manual_seed` seeds all GPUs of the machine."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
