"""What a dataset is made by: all that its content depends on."""

import hashlib
import json
import platform
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.grid import vertices
from data_gen.laws import build_law, law_description, law_parameters
from data_gen.laws.stored import Stored
from data_gen.problems.darcy.scheme import MEANS, Mean, interior_source
from data_gen.problems.darcy.solvers import METHODS
from data_gen.storage import Header

SPLIT = (0.8, 0.1, 0.1)
Fractions = tuple[float | int, float | int, float | int]


@dataclass(frozen=True)
class Recipe:
    """All that the content of a dataset depends on.

    Attributes
    ----------
    samples : int
        Number of samples.
    shape : (n, m)
        Vertices along x and y.
    seed : int
        Sample i is drawn from the child (i,) of this seed.
    law, law_args : str, dict
        Law of the coefficient and its arguments.
    source : float or (n, m) array
        Source f.
    mean : {"arithmetic", "harmonic"}
        Mean that makes the face values of `a`.
    method, rtol : str, float
        Solver and its tolerance.
    split : 3 fractions
        Of train, val and test, in the order of the samples.
    device : str
        "cpu", or the torch device that solves.

    Raises
    ------
    ValueError
        If a value is out of range, or names what there is not.
    """

    samples: int
    shape: tuple[int, int]
    seed: int = 0
    law: str = "piecewise"
    law_args: dict[str, Any] = field(default_factory=dict)
    source: float | Float[np.ndarray, "n m"] = 1.0
    mean: Mean = "arithmetic"
    method: str = "auto"
    rtol: float = 1e-10
    split: Fractions = SPLIT
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        if min(self.shape) < 3:
            raise ValueError(f"resolution must be at least 3, got {'×'.join(map(str, self.shape))}")
        if self.seed < 0:
            raise ValueError(f"seed must be non-negative, got {self.seed}")
        if self.mean not in MEANS:
            raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {self.mean!r}")
        if self.method not in ("auto", *METHODS):
            raise ValueError(f"method must be one of auto, {', '.join(METHODS)}, got {self.method!r}")
        if not 0 < self.rtol < 1:
            raise ValueError(f"rtol must lie between 0 and 1, got {self.rtol}")
        if self.device != "cpu" and self.method == "direct":
            raise ValueError(f"method must be auto or cg on device {self.device!r}, got 'direct'")
        splits(self.samples, self.split)
        interior_source(self.source, self.shape)
        law = build_law(self.law, self.law_args)
        if isinstance(law, Stored) and law.values.shape[1:] != self.shape:
            there, asked = ("×".join(map(str, shape)) for shape in (law.values.shape[1:], self.shape))
            raise ValueError(f"law {self.law!r} holds coefficients on {there} vertices, resolution asks for {asked}")
        if isinstance(law, Stored) and self.samples > len(law.values):
            raise ValueError(
                f"law {self.law!r} holds {len(law.values)} coefficients, {self.samples} samples are asked for"
            )

    def to_json(self) -> dict[str, Any]:
        """A plain object; a source array is named by its SHA-256."""
        recipe = {f.name: getattr(self, f.name) for f in fields(self)}
        if isinstance(self.source, np.ndarray):
            recipe["source"] = "sha256:" + hashlib.sha256(self.source.tobytes()).hexdigest()
        recipe["law_args"] = law_parameters(self.law, self.law_args)
        return json.loads(json.dumps(recipe))

    @classmethod
    def from_json(cls, text: str, source: float | Float[np.ndarray, "n m"]) -> "Recipe":
        """The recipe that a file records, but for the source, of which it may hold a checksum only."""
        recipe = json.loads(text)
        return cls(**recipe | {"shape": tuple(recipe["shape"]), "split": tuple(recipe["split"]), "source": source})

    def header(self) -> Header:
        """What the file says of all samples."""
        recipe = self.to_json()
        attributes = {
            "equation": storage.EQUATION,
            "boundary_condition": storage.BOUNDARY,
            "coefficient": "physical",
            "law": self.law,
            "law_parameters": json.dumps(recipe["law_args"]),
            "law_description": law_description(self.law),
            "seed": self.seed,
            "solver": f"{self.method} on {self.device}",
            "rtol": self.rtol,
            "face_mean": self.mean,
            "recipe": json.dumps(recipe),
            "software": json.dumps(software(self.device)),
        }
        n, m = self.shape
        return Header(
            self.samples,
            vertices(n),
            vertices(m),
            "vertices",
            attributes,
            self.source,
            splits(self.samples, self.split),
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
