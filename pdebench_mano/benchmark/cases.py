"""A case: a model trained once, from its settings' trials to its record."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any, NamedTuple

import torch

from data_gen.storage import alone, write_text
from pdebench_mano.benchmark.data import Located
from pdebench_mano.benchmark.identity import identity
from pdebench_mano.benchmark.suite import Model, Suite
from pdebench_mano.benchmark.tables import merge
from pdebench_mano.evaluation.assess import record_run, train_command
from pdebench_mano.evaluation.records import digest, slug
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import own_metric, own_sources
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.operators.registry import build_operator
from pdebench_mano.training.folder import read_config
from pdebench_mano.training.history import Diverged, History
from pdebench_mano.training.options import RunConfig, parse_config
from pdebench_mano.training.regimes import build_regime
from pdebench_mano.training.runs import train, training_data
from pdebench_mano.training.unrolling import unrolled


@dataclass(frozen=True)
class Case:
    """A model to be trained once and evaluated, on one dataset.

    Attributes
    ----------
    model : str
        Its name in tables.
    config : RunConfig
    trials : tuple of RunConfig
        What to choose among by validation error; none where nothing is tuned.
    data : str
        What the data are, wherever they lie.
    resolutions : tuple of int
        Where to evaluate.
    finer : tuple of int
        Where to evaluate its upsampled predictions.
    short_trials : bool
        Whether trials train for a length of their own, and what is chosen for that of `config`.
    start : float, optional
        Where the rollouts of a model that is trained on steps start.
    trained_on, tested_on : str
        Names of the datasets, in a suite of several.
    elsewhere : str
        What the data to test on are, where they are not those of the dataset that is trained on.
    metrics : tuple of str
        Metrics of one's own.
    """

    model: str
    config: RunConfig
    trials: tuple[RunConfig, ...]
    data: str
    resolutions: tuple[int, ...]
    finer: tuple[int, ...]
    short_trials: bool = False
    start: float | None = None
    trained_on: str = ""
    tested_on: str = ""
    elsewhere: str = ""
    metrics: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Digest of all that determines the outcome."""
        configs = [identity(config, self.data) for config in (self.config, *self.trials)]
        own_metrics = own_sources(self.metrics) if self.metrics else {}
        said = {"start": self.start, "tested on": self.elsewhere, "metrics": own_metrics}
        beyond = [{name: value} for name, value in said.items() if value]
        return digest([configs, self.resolutions, self.finer, *beyond])

    @property
    def name(self) -> str:
        """Name of the case's files."""
        return f"{slug(f'{self.model} {self.trained_on} {self.tested_on}')}-seed{self.config.seed}-{self.key[:8]}"

    @property
    def title(self) -> str:
        """What people are told of it."""
        places = f", trained on {self.trained_on}, tested on {self.tested_on}" if self.trained_on else ""
        return f"{self.model}, seed {self.config.seed}{places}"


class Work(NamedTuple):
    """A case, where its runs go, the data it needs, and where its record is kept; `command` is what was typed.

    `tried` are the trials that records hold already, by the digests of their configurations.
    """

    case: Case
    runs: Path
    train: Dataset
    test: Dataset
    target: Path
    command: str
    tried: Mapping[str, dict[str, Any]] = {}

    def run(self, config: RunConfig) -> Path:
        """Folder of a training of the case; equal for equal trainings, so that a trial is not trained again."""
        return self.runs / run_name(self.case.model, config, self.case.data)

    def known(self, trial: RunConfig) -> dict[str, Any] | None:
        """What a record says of a trial of the case, if one does."""
        return self.tried.get(digest(identity(trial, self.case.data)))


def suite_cases(suite: Suite, train_file: str | os.PathLike[str], data: str) -> Iterator[Case]:
    """All cases of a suite, budget by budget, model by model, seed by seed."""
    for allowed in suite.budgets:
        for model in suite.models:
            for seed in allowed.seeds or model.seeds or suite.seeds:
                config = configuration(suite, model, train_file) | allowed.training
                short = {} if suite.tune_epochs is None else {"epochs": suite.tune_epochs, "seconds": None}
                same = {"seed": suite.seeds[0]} | short
                trials = [parse_config(merge(config, trial) | same) for trial in model.trials()]
                own = parse_config(config | {"seed": seed})
                places = model.resolutions or suite.resolutions
                at, short_trials = (tuple(places), tuple(suite.resolutions)), bool(short)
                start, own_metrics = suite.rolled_out_from, tuple(suite.metrics)
                yield Case(model.label, own, tuple(trials), data, *at, short_trials, start, metrics=own_metrics)


def all_cases(suite: Suite, datasets: Mapping[str, Located]) -> Iterator[Case]:
    """The cases of each dataset to train on, each for all datasets to test on, one after another."""
    for name, own in datasets.items():
        for case in suite_cases(suite, own.train, own.said):
            for other, there in datasets.items():
                elsewhere = "" if other == name else there.said
                yield replace(case, trained_on=name, tested_on=other, elsewhere=elsewhere)


def configuration(suite: Suite, model: Model, train_file: str | os.PathLike[str]) -> dict[str, Any]:
    """Fields of the `RunConfig` of a model, but for budget and seed."""
    own = model.model_dump(include={"operator", "operator_args", "regime", "regime_args"})
    return merge(suite.training, model.training) | own | {"norm": suite.norm, "data": os.fspath(train_file)}


def check(case: Case, data: Dataset) -> None:
    """Raise ValueError or TypeError if operator, regime, metrics or data of a case do not exist or fit."""
    for metric in case.metrics:
        own_metric(metric)
    for config in (case.config, *case.trials):
        sets, _ = training_data(config, data)
        with torch.random.fork_rng(devices=[]):
            operator = build_operator(config.operator, *sets[0].channels, **config.operator_args)
        build_regime(config.regime, **config.regime_args).check(unrolled(operator, config))


def choose(
    work: Work, say: Callable[[str], None] = lambda line: None, progress: Progress = silent
) -> tuple[RunConfig, list[dict[str, Any]]]:
    """The configuration of a case with its best settings, and every trial's validation error and training time.

    A trial that diverged has neither: both are None. One that a record tells of is not trained again.
    """
    case = work.case
    if not case.trials:
        return case.config, []
    trials = []
    for number, trial in enumerate(case.trials, 1):
        outcome = work.known(trial)
        if outcome is None:
            say(f"    trial {number} of {len(case.trials)}")
            outcome = try_out(work, trial, say, progress)
        trials.append(outcome)
    errors = [math.inf if outcome["validation"] is None else outcome["validation"] for outcome in trials]
    best = case.trials[errors.index(min(errors))]
    kept = {"seed", "epochs", "seconds"} if case.short_trials else {"seed"}
    return best.model_copy(update=case.config.model_dump(include=kept)), trials


def try_out(work: Work, trial: RunConfig, say: Callable[[str], None], progress: Progress) -> dict[str, Any]:
    """Train a trial; returns its configuration, its best validation error and the seconds that it took."""
    validation, seconds = None, None
    try:
        history = train_once(trial, work.run(trial), work.train, progress, say)
    except Diverged as error:
        say(f"    {error}")
    else:
        seconds = history.seconds
        validation = history.best_validation if math.isfinite(history.best_validation) else None
    return {"configuration": identity(trial, work.case.data), "validation": validation, "seconds": seconds}


def train_once(
    config: RunConfig,
    run: Path,
    data: Dataset,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> History:
    """`train`, but for a training that has diverged already: the file ``RUN.diverged`` says so.

    Raises
    ------
    ValueError
        As `train`; `Diverged` if it diverges, or has.
    """
    outcome = run.with_name(f"{run.name}.diverged")
    if outcome.exists():
        raise Diverged(outcome.read_text(encoding="utf-8"))
    try:
        return train(config, run, progress=progress, data=data, say=say)
    except Diverged as error:
        write_text(outcome, str(error))
        raise


def run_case(work: Work, say: Callable[[str], None] = lambda line: None, progress: Progress = silent) -> list[str]:
    """Train a case, after its trials, and leave its record; returns why not, in one line, where training diverged.

    Nothing is left to do where another command on the same folder has left the record meanwhile.
    """
    case = work.case
    if lexists(work.target):
        return []
    try:
        config, trials = choose(work, say, progress)
        run = work.run(config)
        train_once(config, run, work.train, progress, say)
    except ValueError as error:  # the input is checked, so this training diverged: the others need not wait
        return [f"{case.title}: {error}"]
    with alone(work.target):
        record_run(
            run,
            work.test,
            case.resolutions,
            work.target,
            finer=case.finer,
            model=case.model,
            key=case.key,
            split=None if "test" in work.test.info.splits else "all",
            start=case.start,
            trained_on=case.trained_on,
            tested_on=case.tested_on,
            metrics=case.metrics,
            commands=[work.command, train_command(read_config(run), run)],
            training={"trials": trials} if trials else {},
            progress=progress,
        )
    return []


def run_name(model: str, config: RunConfig, data: str) -> str:
    """Name of a run's folder, known by what determines the outcome."""
    return f"{slug(model)}-seed{config.seed}-{digest(identity(config, data))[:8]}"
