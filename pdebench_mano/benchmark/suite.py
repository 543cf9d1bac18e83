"""What a suite says: the TOML form of an experiment.

::

    title = "Darcy flow"
    resolutions = [33, 65, 129]             # where models are evaluated
    seeds = [0, 1, 2]
    tune_epochs = 8                         # of a trial; by default, trials train as long as the models

    [data.generate]                         # or data.train = "file", data.test = "file"
    samples = 300
    resolution = 129
    test_samples = 60                       # of a file of their own, drawn from another seed
    test_seed = 1

    [training]                              # options of `RunConfig` for all models
    resolution = 33
    epochs = 24

    [[models]]
    operator = "fno"
    tune.lr = [1e-3, 3e-3]                  # chosen on validation
    tune.operator_args.width = [32, 64]

A suite of several datasets names them, by what each of them says beside the rest of ``[data]``; every model is trained
on each and tested on each::

    [data.each]
    smooth.generate.law = "lognormal"
    rough.generate = {law = "channels", law_args = {contrast = 100}}

An unknown key is an error.
"""

import itertools
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from data_gen.grid import Norm
from pdebench_mano.benchmark.data_table import Data
from pdebench_mano.benchmark.tables import Table, merge
from pdebench_mano.evaluation.records import NAMED, listed
from pdebench_mano.machine.typed import wrong
from pdebench_mano.training.options import Count

SUITES = Path(__file__).parent / "suites"

RESERVED = (*NAMED, "baselines")
"""Names of rows and records that are no model's."""


ELSEWHERE = {
    "data": "the table data",
    "seed": "the list seeds",
    "operator": "the table models",
    "operator_args": "the table models",
    "regime": "the table models",
    "regime_args": "the table models",
}
"""What is no option of a table of training, and where a suite says it."""


class Budget(Table):
    """How long every model trains, and from which seeds; what is not given is as `training` and the models say."""

    epochs: int | None = None
    seconds: float | None = None
    seeds: list[int] | None = Field(default=None, min_length=1)

    @property
    def training(self) -> dict[str, Any]:
        """Options of `RunConfig`."""
        return self.model_dump(include={"epochs", "seconds"}, exclude_none=True)


class Model(Table):
    """An operator under a regime, with its arguments, training options and settings to choose among.

    `tune` has the structure of a `RunConfig` with a list of values in each place. Every combination is trained from
    the suite's first seed, for `Suite.tune_epochs`; the one with the lowest validation error is then trained from every
    seed.

    `resolutions` are those an operator of a fixed grid is evaluated at; its upsampled predictions go to all.
    """

    operator: str
    name: str | None = None
    operator_args: dict[str, Any] = {}
    regime: str = "backprop"
    regime_args: dict[str, Any] = {}
    training: dict[str, Any] = {}
    seeds: list[int] | None = Field(None, min_length=1)
    resolutions: list[int] | None = Field(None, min_length=1)
    tune: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """What tables call the model."""
        return self.name or (self.operator if self.regime == "backprop" else f"{self.operator}, {self.regime}")

    def trials(self) -> Iterator[dict[str, Any]]:
        """Every combination of the values in `tune`, in its structure; none where there is nothing to choose."""
        leaves = list(_leaves(self.tune))
        if not leaves:
            return
        for values in itertools.product(*(choices for _, choices in leaves)):
            trial: dict[str, Any] = {}
            for (path, _), value in zip(leaves, values, strict=True):
                trial = merge(trial, _nested(path, value))
            yield trial

    @model_validator(mode="after")
    def _lists_to_choose_from(self) -> "Model":
        for path, choices in _leaves(self.tune):
            if not isinstance(choices, list) or not choices:
                raise ValueError(f"tune.{'.'.join(path)} must be a list of values to choose among, got {choices!r}")
        return self


class Suite(Table):
    """One experiment: every model, within every budget, from every seed.

    Attributes
    ----------
    title : str
    data : Data
    norm : {"points", "integral"}
        Of errors and losses: mean over grid points, or over the unit square.
    resolutions : list of int
        Where models are evaluated.
    start : float
        Where rollouts start, of models that are trained on steps: 0, or a time of the data but the last.
    training : dict
        Options of `RunConfig` shared by all models.
    budgets : list of Budget
        By default one, as `training` says.
    seeds : list of int
    tune_epochs : int, optional
        Epochs of a trial, whatever the budget; by default, trials are trained within it. Settings that are chosen by
        shorter trials are then trained within the budget from every seed, the first among them.
    models : list of Model
    coarse_solver : list of int, optional
        Grids of the rows of the solver that made the labels; by default the training resolution, none with `rivals`.
    rivals : list of int
        Grids of the rows of each of the problem's discretisations, see `data_gen.problem.Problem.rivals`.
    mean_solution : bool
        Whether to add the row of a model that has learned nothing; in time, persistence is always there.
    label_uncertainty : int
        Number of test samples to estimate the error of the labels themselves on; 0 for none. Of data only that are
        generated with labels of their own grid: a file of refined labels says itself how uncertain they are.
    metrics : list of str
        Metrics of one's own beside those of the suite, ``file.py:function``, see `pdebench_mano.fields.metrics`.
    """

    title: str
    data: Data
    norm: Norm = "points"
    resolutions: list[int] = Field(min_length=1)
    start: float = Field(0.0, ge=0)
    training: dict[str, Any] = {}
    budgets: list[Budget] = Field([Budget()], min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    tune_epochs: Count | None = None
    models: list[Model] = Field(min_length=1)
    coarse_solver: list[int] | None = None
    rivals: list[int] = []
    mean_solution: bool = False
    label_uncertainty: int = Field(0, ge=0)
    metrics: list[str] = []

    @property
    def rolled_out_from(self) -> float | None:
        """Where rollouts start; None where nothing is rolled out."""
        return self.start if self.training.get("pairs") == "step" else None

    def refuse_others(self, models: Collection[str]) -> None:
        """Refuse names of models that the suite does not have.

        Raises
        ------
        ValueError
            If there is one; lists those that it has.
        """
        known = [model.label for model in self.models]
        if unknown := sorted(set(models) - set(known)):
            raise ValueError(f"no model is called {listed(unknown)}: this suite has {listed(known)}")

    @model_validator(mode="after")
    def _names_differ(self) -> "Suite":
        labels = [model.label for model in self.models]
        if taken := sorted(label for label in labels if label in RESERVED or label.startswith("upsampled ")):
            raise ValueError(f"models need names that no reference has, got {', '.join(taken)}")
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"models need names of their own; there are several of {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _one_kind_of_pairs(self) -> "Suite":
        if any("pairs" in options for model in self.models for options in (model.training, model.tune)):
            raise ValueError("pairs are those of the whole suite: give them in training")
        if self.start and self.rolled_out_from is None:
            raise ValueError('start is of rollouts: it needs pairs = "step" in training')
        return self

    @model_validator(mode="after")
    def _one_norm(self) -> "Suite":
        if any("norm" in options for model in self.models for options in (self.training, model.training, model.tune)):
            raise ValueError("norm is that of the whole suite, of errors and losses: give it beside title")
        return self

    @model_validator(mode="after")
    def _training_is_training(self) -> "Suite":
        tables = {"training": self.training} | {f"{each.label}.training": each.training for each in self.models}
        ignored = [f"{place}.{key}" for place, table in tables.items() for key in table.keys() & ELSEWHERE]
        ignored += [f"{each.label}.tune.{key}" for each in self.models for key in each.tune.keys() & {"data", "seed"}]
        if ignored:
            key = ignored[0].rpartition(".")[2]
            raise ValueError(f"{ignored[0]} would be ignored: {ELSEWHERE[key]} of the suite says it")
        return self

    @model_validator(mode="after")
    def _one_length_of_trials(self) -> "Suite":
        if self.tune_epochs is not None and any({"epochs", "seconds"} & model.tune.keys() for model in self.models):
            raise ValueError("tune_epochs is how long trials train: tune neither epochs nor seconds beside it")
        return self

    @model_validator(mode="after")
    def _labels_to_refine(self) -> "Suite":
        made = [data.generate for data in self.data.named.values()]
        if self.label_uncertainty and None in made:
            raise ValueError("label_uncertainty is estimated for generated data only")
        if self.label_uncertainty and any(each.label_refinement > 1 for each in made if each):
            raise ValueError("label_uncertainty is stated by the data themselves where label_refinement is above 1")
        return self


def read_suite(path: str | Path) -> Suite:
    """Read and check a suite.

    Raises
    ------
    ValueError, OSError
        For a file that cannot be read, is no TOML, or has a table or key that is unknown or wrong.
    """
    path = Path(path)
    try:
        return Suite(**tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ValueError(f"{path}: {wrong(error, Suite)}") from None


def packaged(name: str) -> Path:
    """The file of a suite that comes with the package, by its name, with or without ``.toml``.

    Raises
    ------
    FileNotFoundError
        If there is none of that name.
    """
    known = {path.stem: path for path in sorted(SUITES.glob("*.toml"))}
    if (stem := name.removesuffix(".toml")) not in known:
        raise FileNotFoundError(f"there is no suite {name}: give a TOML file, or one of {', '.join(known)}")
    return known[stem]


def _leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if path[1:] else value}
