"""What a dataset is made by: all that its content depends on."""

import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from data_gen import storage
from data_gen.counts import check_count
from data_gen.grid import Grid
from data_gen.lookup import source_sha256
from data_gen.problem import Problem
from data_gen.problems import PROBLEMS, build_problem, called, kind_of, sources
from data_gen.storage import DatasetInfo, Header

SPLIT = (0.8, 0.1, 0.1)
Fractions = tuple[float | int, float | int, float | int]

PUBLISHED_MEANING: dict[str, Any] = {
    "problem": "darcy",
    "sources": {},
    "kind": "vertices",
    "lengths": [],
    "label_refinement": 1,
    "norm": "points",
    "pairs": "final",
    "unroll": 1,
    "detach": False,
    "noise": 0.0,
}
"""What a recipe or a configuration means that does not say it: those of earlier versions do not."""


@dataclass(frozen=True)
class Recipe:
    """All that the content of a dataset depends on.

    Attributes
    ----------
    samples : int
        Number of samples.
    grid : Grid
    problem : Problem
    seed : int
        Sample i is drawn from the child (i,) of this seed.
    rtol : float, optional
        Bound on the evidence of each label; the problem's own by default.
    split : 3 fractions
        Of train, val and test, in the order of the samples.
    device : str
        "cpu", or the torch device that solves.
    label_refinement : int
        Labels are solved for on the grid of this many times as many intervals, and brought down to `grid`.

    Raises
    ------
    ValueError
        If a value is out of range, or the problem does not live on this grid.
    """

    samples: int
    grid: Grid
    problem: Problem
    seed: int = 0
    rtol: float | None = None
    split: Fractions = SPLIT
    device: str = "cpu"
    label_refinement: int = 1

    def __post_init__(self) -> None:
        rtol = self.tolerance
        object.__setattr__(self, "rtol", rtol)
        check_count("samples", self.samples)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be non-negative and below 2^63, got {self.seed}")
        if not 0 < rtol < 1:
            raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
        check_count("label_refinement", self.label_refinement)
        if self.grid.kind != self.problem.kind:
            raise ValueError(f"problem {self.problem.name!r} lives on {self.problem.kind}, not {self.grid.kind}")
        splits(self.samples, self.split)
        self.problem.fits(self.grid, self.samples)

    @property
    def tolerance(self) -> float:
        """The bound on the evidence, as a number."""
        return self.problem.rtol if self.rtol is None else self.rtol

    @property
    def solved_on(self) -> Grid:
        """The grid that labels are solved for on."""
        return self.grid.refined(self.label_refinement) if self.label_refinement > 1 else self.grid

    def to_json(self) -> dict[str, Any]:
        """A plain object, of Darcy flow as earlier versions wrote it; arrays are named by their SHA-256."""
        name, parameters = called(self.problem), self.problem.parameters()
        recipe = {
            "problem": name,
            "samples": self.samples,
            "shape": list(self.grid.shape),
            "kind": self.grid.kind,
            "lengths": list(self.grid.lengths),
            "seed": self.seed,
            **(parameters if name == PUBLISHED_MEANING["problem"] else {"parameters": parameters}),
            "sources": sources(self.problem),
            "rtol": self.rtol,
            "split": list(self.split),
            "device": self.device,
            "label_refinement": self.label_refinement,
        }
        return json.loads(json.dumps(said(recipe)))

    def header(self) -> Header:
        """What the file says of all samples."""
        problem, recipe = self.problem, self.to_json()
        name = called(problem)
        about = {
            "problem": name,
            "parameters": json.dumps(problem.parameters()),
            "drawn_by": json.dumps(problem.drawn_by()),
            "restriction": problem.restriction,
        }
        attributes = {
            **({} if name == PUBLISHED_MEANING["problem"] else about),
            "equation": problem.equation,
            "source": storage.UNKNOWN,
            **problem.attributes(),
            "seed": self.seed,
            "solver": f"{recipe.get('method', 'auto')} on {self.device}",
            "rtol": self.rtol,
            "recipe": json.dumps(recipe),
            "software": json.dumps(software(self.device)),
        }
        return Header(
            self.samples,
            self.grid,
            attributes,
            problem.inputs,
            problem.outputs,
            problem.times,
            problem.arrays(),
            splits=splits(self.samples, self.split),
        )


def said(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say more than what is meant where they are left out, see `PUBLISHED_MEANING`."""
    return {name: value for name, value in fields.items() if value != PUBLISHED_MEANING.get(name, ...)}


def drawn(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """What determines the inputs of a sample beside its position, on whatever grid; None where that is not known.

    Parameters
    ----------
    attributes : dict
        Root attributes of a dataset file.
    """
    if "recipe" not in attributes:
        return None
    recipe = PUBLISHED_MEANING | json.loads(attributes["recipe"])
    if "drawn_by" in attributes:
        by = json.loads(attributes["drawn_by"])
    else:
        by = {name: recipe[name] for name in ("law", "law_args")}
        if ":" in by["law"] and not recipe["sources"]:  # of an earlier version, which knew such a law by name only
            return None
    return {"problem": recipe["problem"], "sources": recipe["sources"], "seed": recipe["seed"], **by}


def problem_of(info: DatasetInfo, arrays: dict[str, np.ndarray], trust: bool = False) -> Problem | None:
    """The problem that a file says its samples are of; None where it is not known.

    Parameters
    ----------
    info : DatasetInfo
        What the file says of itself.
    arrays : dict
        Those parameters that are arrays, see `data_gen.storage.arrays_of`.
    trust : bool
        Whether to run code that the file names, of a problem that is not built in.

    Raises
    ------
    ValueError
        If the file names code that is not trusted, or that is not what it was, or leaves a choice open.
    """
    if info.problem == storage.UNKNOWN:
        return None
    if info.problem not in PROBLEMS and not trust:
        raise ValueError(f"{info.path} names code of its own, problem {info.problem!r}: --trust runs it")
    recorded = json.loads(info.attributes.get("recipe", "{}")).get("sources", {})
    if info.parameters.get("mean") == "auto":  # asks the law, which may be code; a file says what came of it
        raise ValueError(f"{info.path} does not say by which mean it was made, but 'auto'")
    if source_sha256(info.problem, PROBLEMS) != recorded.get("problem"):
        raise ValueError(f"problem {info.problem!r} is not the one that {info.path} was made by: its file has changed")
    return build_problem(info.problem, **info.parameters | arrays)


def unsolved(attributes: dict[str, Any]) -> str:
    """Why no solver can stand beside operators on the samples of a file, in words; "" where one can.

    Parameters
    ----------
    attributes : dict
        Root attributes of a dataset file.
    """
    problem, parameters = storage.problem_of(attributes)
    if problem == storage.UNKNOWN:
        return "the equation is unknown"
    if parameters.get("source", 0.0) is None:  # of Darcy flow, as a converted file has it
        if attributes.get("coefficient") == "indicator":
            return "the coefficient only names phases, and their values are unknown"
        return f"the {'boundary condition' if 'beta' in attributes else 'source'} is unknown"
    if problem in PROBLEMS and kind_of(problem) != attributes["grid"]:
        return f"{problem} is solved on {kind_of(problem)}, and its grid is {attributes['grid']}"
    return ""


def recipe_of(info: DatasetInfo, arrays: dict[str, np.ndarray], trust: bool = False) -> Recipe:
    """The recipe by which the samples of a file can be drawn again, on any grid.

    Raises
    ------
    ValueError
        If the file has none, names a law or a problem that is not trusted, or that is not what it was.
    """
    problem = problem_of(info, arrays, trust)
    if problem is None or "recipe" not in info.attributes or str(info.parameters.get("law", "")).endswith(".npy"):
        raise ValueError(f"{info.path} has no law by which its inputs could be drawn on a finer grid")
    recipe = json.loads(info.attributes["recipe"])
    if problem.code() and not trust:
        own = ", ".join(f"{parameter} {name!r}" for parameter, name in problem.code().items())
        raise ValueError(f"{info.path} names code of its own, {own}: --trust runs it")
    for name, digest in recipe.get("sources", {}).items():
        if sources(problem).get(name) != digest:
            raise ValueError(f"the {name} that {info.path} was made by is another one now: its file has changed")
    return Recipe(
        recipe["samples"],
        info.grid,
        problem,
        recipe["seed"],
        recipe["rtol"],
        tuple(recipe["split"]),
        recipe["device"],
        recipe.get("label_refinement", 1),
    )


def software(device: str) -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ["pdebench-mano", "numpy", "scipy", "h5py"] + (["torch", "triton"] if device != "cpu" else [])
    return {"python": platform.python_version()} | {name: installed(name) for name in packages}


def installed(package: str) -> str:
    """Version of a package, or "unknown" where the code is not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return storage.UNKNOWN


def splits(samples: int, fractions: Fractions) -> dict[str, np.ndarray]:
    """Indices of train, val and test: consecutive parts of the samples, the largest taking what rounding leaves.

    A part with a positive fraction has at least one sample; an empty part is left out. With fewer
    samples than parts there is no split.

    Raises
    ------
    ValueError
        If the fractions are not three non-negative numbers of sum 1.

    Examples
    --------
    >>> {name: len(part) for name, part in splits(300, (0.8, 0.1, 0.1)).items()}
    {'train': 240, 'val': 30, 'test': 30}
    """
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"split must be three fractions of sum 1, got {fractions}")
    if samples < sum(fraction > 0 for fraction in fractions):
        return {}
    counts = [max(1, round(samples * fraction)) if fraction else 0 for fraction in fractions]
    counts[int(np.argmax(fractions))] += samples - sum(counts)
    ends = np.cumsum(counts)
    parts = zip(("train", "val", "test"), ends, counts, strict=True)
    return {name: np.arange(end - count, end) for name, end, count in parts if count}
