"""The one training loop: gradients → optimizer step → retraction, whatever the regime.

Everything random in a step (which samples, which resolution, which symmetry) is drawn
from (seed, epoch, step) alone, and the learning rate is a function of the fraction of
training done. So a checkpoint of weights, optimizer state and position is enough to
resume bit for bit, and any number of processes draws the same batches.

Under ``torchrun`` each process takes its share of every batch and the gradients are
added up, which serves every regime, also those that never call autograd.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import Dataset

from data_gen.problem import Symmetry
from data_gen.recipe import said
from pdebench_mano.fields import symmetries
from pdebench_mano.fields.data import View, fetch
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Steps
from pdebench_mano.machine.graphs import recorded_gradients, recorded_update
from pdebench_mano.machine.parallel import add, agree, average_gradients, rank, world
from pdebench_mano.machine.progress import Progress
from pdebench_mano.training import checkpoint
from pdebench_mano.training.folder import BEST, STANDING
from pdebench_mano.training.history import Diverged, History
from pdebench_mano.training.losses import LOSSES, Targets, by_norm
from pdebench_mano.training.optimizers import optimizers, set_rate, take_up
from pdebench_mano.training.options import Training
from pdebench_mano.training.regimes import TrainingRegime, alignment
from pdebench_mano.training.sobolev import with_h1_term
from pdebench_mano.training.unrolling import disturbed, over_steps, unrolled
from pdebench_mano.training.validation import kind_of, validate


class Loop:
    """State of one training run, and how it is saved."""

    def __init__(
        self,
        operator: nn.Module,
        regime: TrainingRegime,
        datasets: list[Dataset[Any]],
        validation: Dataset[Any] | None,
        settings: Training,
        device: torch.device,
        out: Path | None,
    ) -> None:
        self.operator, self.regime, self.datasets, self.validation = operator, regime, datasets, validation
        self.settings, self.device, self.out = settings, device, out
        norm, grid = settings.norm, kind_of(datasets[0])
        loss = by_norm(LOSSES[settings.loss], grid, norm)
        loss = with_h1_term(loss, settings.h1, grid, norm) if settings.h1 else loss
        self.loss = over_steps(loss, settings.unroll) if settings.unroll > 1 else loss
        self.trained = unrolled(operator, settings)
        self.parameters = [p for p in operator.parameters() if p.requires_grad]
        recording = settings.cuda_graphs and device.type == "cuda"
        self.gradients = recorded_gradients(self._gradients, self.parameters) if recording else self._gradients
        updates = recording and world() == 1  # else gradients are added up in between, by processes that may differ
        self.update = recorded_update(self._update, self.parameters) if updates else self._update
        self.optimizers = optimizers(settings.optimizer, self.parameters, settings.lr, settings.weight_decay, updates)
        self.average = [p.detach().clone() for p in self.parameters] if settings.ema else None
        self.best: dict[str, Tensor] | None = None
        self.history = History()
        self.watch: Callable[[dict[str, int | float]], None] | None = None
        self.epoch = self.step = 0
        self.elapsed = 0.0
        self.aligned: dict[str, float] = {}
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.symmetries = [known_symmetries(each) for each in datasets] if settings.symmetries else []
        if settings.symmetries and min(map(len, self.symmetries)) < 2:
            raise ValueError("symmetries=True: this problem is known to have none but the identity on this grid")
        first = datasets[0]
        self.samples = first.windows(settings.unroll) if isinstance(first, Steps) else len(first)  # type: ignore[arg-type]
        self.steps = math.ceil(self.samples / settings.batch_size)

    def run(self, progress: Progress) -> None:
        self._resume()
        if self.settings.compile:
            torch.compiler.reset()  # numbers that differ from an operator before would be variables of the program
            self.operator.compile()
        self.operator.train()
        total = self.settings.epochs * self.steps if self.settings.seconds is None else round(self.settings.seconds)

        def show() -> None:
            if rank() == 0:
                progress(self._done(), total, self._standing())

        while self._fraction() < 1 or self.step:  # a resumed run may only have its last epoch to finish
            self._run_epoch(show)
        self._load_best()

    def _fraction(self) -> float:
        """How much of the training is done, the same in every process."""
        if self.settings.seconds is None:
            return (self.epoch * self.steps + self.step) / (self.settings.epochs * self.steps)
        return agree(self.elapsed / self.settings.seconds, self.device)

    def _done(self) -> int:
        """Steps, or seconds where these are the budget."""
        return self.epoch * self.steps + self.step if self.settings.seconds is None else int(self.elapsed)

    def _standing(self) -> str:
        best, of = self.history.best_validation, f" of {self.settings.epochs}"
        standing = f"epoch {self.epoch + 1}" + (of if self.settings.seconds is None else "")
        standing += f", best {best:.4f}" if math.isfinite(best) else ""
        return f"{standing}, {'steps' if self.settings.seconds is None else 'seconds'}"

    def _run_epoch(self, show: Callable[[], None]) -> None:
        order = torch.randperm(self.samples, generator=_generator(self.settings.seed, self.epoch))
        saved = time.perf_counter()
        while self.step < self.steps and (fraction := self._fraction()) < 1:
            start = time.perf_counter()
            first = self.step * self.settings.batch_size
            self._train_step(order[first : first + self.settings.batch_size], fraction)
            self.step += 1
            self.elapsed += time.perf_counter() - start
            show()
            if time.perf_counter() - saved > self.settings.checkpoint_seconds:
                self._save()
                saved = time.perf_counter()
        self._finish_epoch()

    def _train_step(self, indices: Int[Tensor, " batch"], fraction: float) -> None:
        settings = self.settings
        draw = _generator(settings.seed, self.epoch, self.step)
        number = int(torch.randint(len(self.datasets), (), generator=draw))
        data = self.datasets[number]
        mine = slice(rank(), None, world())
        share = len(indices[mine]) / len(indices)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros_like(self.loss_sum)
        if share:
            a, u = (each.to(self.device, non_blocking=True) for each in self._fetch(data, indices[mine].tolist()))
            if settings.symmetries:
                maps = self.symmetries[number]
                symmetry = torch.randint(len(maps), indices.shape, generator=draw)
                a = symmetries.transform(a, symmetry[mine], maps, "inputs")
                u = symmetries.transform(u, symmetry[mine], maps, "outputs")
            if settings.noise:
                assert isinstance(data, Steps)
                a = disturbed(a, data.channels[1], settings.noise, partial(_normal, len(indices), mine, draw))
            if settings.alignment and self.step == 0:
                layers = alignment(self.trained, self.regime, a, u, self.loss)
                self.aligned = {f"cosine {name}": cosine for name, (cosine, _) in layers.items()}
                self.aligned |= {f"ratio {name}": ratio for name, (_, ratio) in layers.items()}
            value = self.gradients(a, u)
            if self.epoch == self.step == 0 and not math.isfinite(value.item()):
                raise ValueError(
                    f"loss={self.settings.loss} is {value.item()} before the first step, whatever the learning rate: "
                    "the operator's output, or its square, is beyond float32"
                )
            loss = value.double() * share * len(indices)
        self.loss_sum += add(loss)  # of all processes, since what one of them writes is taken up by all
        average_gradients(self.parameters, share)
        for optimizer in self.optimizers:
            set_rate(optimizer, settings.lr * _schedule(settings.schedule, fraction))
        self.update()
        self.regime.retract(self.operator)
        if self.average is not None:
            count = self.epoch * self.steps + self.step
            decay = min(settings.ema, (1 + count) / (10 + count))
            get_ema_multi_avg_fn(decay)(self.average, [p.detach() for p in self.parameters], count)

    def _fetch(self, data: Dataset[Any], indices: list[int]) -> tuple[Fields, Targets]:
        """Pairs, or as many steps in a row as are trained over."""
        if isinstance(data, Steps) and self.settings.unroll > 1:
            return data.window(indices, self.settings.unroll)
        return fetch(data, indices)

    def _gradients(self, a: Fields, u: Targets) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.regime.gradients(self.trained, a, u, self.loss)

    def _update(self) -> None:
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()

    def _finish_epoch(self) -> None:
        start = time.perf_counter()
        done = self.step * self.settings.batch_size if self.step < self.steps else self.samples
        loss = self.loss_sum.item() / done
        self.elapsed += time.perf_counter() - start  # the queued kernels of an accelerator are waited for here
        if not math.isfinite(loss):
            raise Diverged(
                f"lr={self.settings.lr} made the loss {loss} in epoch {self.epoch + 1}; a smaller one may not"
            )
        self.epoch += 1
        self.step = 0
        self.loss_sum.zero_()
        row: dict[str, int | float] = {
            "epoch": self.epoch,
            "loss": loss,
            "lr": float(self.optimizers[0].param_groups[0]["lr"]),
            "seconds": self.elapsed,
            **self.aligned,
        }
        with self._averaged():
            if self.validation is not None:
                error = validate(self.operator, self.validation, self.device, norm=self.settings.norm)
                row["validation"] = error if math.isfinite(error) else math.inf
            finite = all(bool(p.isfinite().all()) for p in self.parameters)
            rolled = isinstance(self.validation, Steps)  # which may blow up while the weights are sound
            if not finite or not (rolled or math.isfinite(row.get("validation", 0.0))):
                raise Diverged(
                    f"lr={self.settings.lr} made the weights useless in epoch {self.epoch}: the validation error is "
                    f"{row.get('validation', 'not known')}; a smaller one may not"
                )
            best = self.history.best_validation if self.history.best_epoch else math.nan
            if self.validation is None or not row["validation"] >= best:
                self.history.best_epoch = self.epoch
                self.history.best_validation = row.get("validation", math.inf)
                self.best = {name: value.clone() for name, value in checkpoint.tensors(self.operator).items()}
                if self.out is not None and rank() == 0:
                    checkpoint.write({"operator": self.best}, self.out / BEST)
        self.history.epochs.append(row)
        self._save()
        if self.out is not None and rank() == 0:
            checkpoint.write_history(self.history.epochs, self.out)
        if self.watch is not None and rank() == 0:
            self.watch(dict(row))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within, the operator has its averaged weights, on their constraint, which a mean of matrices on it is not."""
        if self.average is None:
            yield
            return
        kept = [p.detach().clone() for p in self.parameters]
        _assign(self.parameters, self.average)
        self.regime.retract(self.operator)
        try:
            yield
        finally:
            _assign(self.parameters, kept)

    def _save(self) -> None:
        if self.out is None or rank() != 0:
            return
        state = {
            "settings": self.settings.model_dump(),
            "operator": checkpoint.tensors(self.operator),
            "optimizers": [each.state_dict() for each in self.optimizers],
            "average": self.average,
            "epoch": self.epoch,
            "step": self.step,
            "elapsed": self.elapsed,
            "loss_sum": self.loss_sum,
            "aligned": self.aligned,
            "history": asdict(self.history),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        checkpoint.write(state, self.out / STANDING)

    def _resume(self) -> None:
        if self.out is None or not lexists(self.out / STANDING):
            return
        try:
            self._take_up(checkpoint.read(self.out / STANDING, self.device))
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{self.out / STANDING} does not fit this training: {error}") from error

    def _take_up(self, state: dict[str, Any]) -> None:
        assert self.out is not None
        if said(state["settings"]) != said(self.settings.model_dump()):
            raise ValueError(
                f"{self.out} was trained with other options: {_difference(state['settings'], self.settings)}"
            )
        self.operator.load_state_dict(state["operator"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            take_up(optimizer, saved)
        self.average = state["average"]
        self.epoch, self.step, self.elapsed = state["epoch"], state["step"], state["elapsed"]
        self.loss_sum, self.aligned = state["loss_sum"], state["aligned"]
        self.history = History(**state["history"])
        if self.history.best_epoch:
            self.best = checkpoint.read(self.out / BEST, self.device)["operator"]
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)

    def _load_best(self) -> None:
        if self.best is not None:
            self.operator.load_state_dict(self.best)


def known_symmetries(data: Dataset[Any]) -> Sequence[Symmetry]:
    """Those of the problem that a view is of; of other data, the eight of the square."""
    return data.symmetries if isinstance(data, View) else symmetries.SQUARE


def _assign(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)


def _schedule(name: str, fraction: float) -> float:
    if name == "constant":
        return 1.0
    rise = 0.2 if name == "one-cycle" else 0.0
    if fraction < rise:
        return 0.04 + 0.96 * fraction / rise
    return 0.5 * (1 + math.cos(math.pi * (fraction - rise) / (1 - rise)))


def _normal(samples: int, mine: slice, draw: torch.Generator, shape: torch.Size) -> Tensor:
    """Standard normal numbers for all samples of a batch, of which this process takes its own."""
    return torch.randn(samples, *shape[1:], generator=draw)[mine]


def _generator(*key: int) -> torch.Generator:
    """A generator that depends on the numbers of `key` and on nothing else."""
    seed = 0
    for number in key:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)


def _difference(old: dict[str, Any], new: Training) -> str:
    changed = [
        f"{key} {old.get(key)!r}, not {value!r}" for key, value in new.model_dump().items() if old.get(key) != value
    ]
    return "; ".join(changed)
