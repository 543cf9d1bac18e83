"""Laws of random coefficients a(x) > 0.

A law is a function ``law(shape, rng) -> a`` from a vertex grid and a random generator to an (n, m)
array. The laws here draw a function of x first and sample it afterwards, so that one seed is one
coefficient on every grid. To add one: write its class, add its line to `LAWS`.
"""

import hashlib
import importlib
import inspect
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from data_gen.random_fields import GaussianRandomField

Coefficient = Float[np.ndarray, "n m"]
Law = Callable[[tuple[int, int], np.random.Generator], np.ndarray]


def _positive(**values: float | int) -> None:
    for name, value in values.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


@dataclass(frozen=True)
class Piecewise:
    """Two phases, `high` where a Gaussian random field is ≥ 0 and `low` elsewhere (Li et al. 2021, §A.3.2).

    Parameters
    ----------
    high, low : float
        Values of the coefficient.
    alpha, tau : float
        Smoothness and inverse length scale of the field, covariance (-Δ + τ² I)^(-α).

    Raises
    ------
    ValueError
        If a value is not positive and finite.
    """

    high: float | int = 12.0
    low: float | int = 3.0
    alpha: float | int = 2.0
    tau: float | int = 3.0

    def __post_init__(self) -> None:
        _positive(high=self.high, low=self.low)

    @cached_property
    def _field(self) -> GaussianRandomField:
        return GaussianRandomField(self.alpha, self.tau)

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return np.where(self._field.sample(shape, rng) >= 0, float(self.high), float(self.low))


@dataclass(frozen=True)
class LogNormal:
    """a = exp(g), g a Gaussian random field of standard deviation `sigma`.

    Parameters
    ----------
    sigma : float
        Root mean square of log a over the domain and over samples.
    alpha, tau : float
        Smoothness and inverse length scale of the field, covariance ∝ (-Δ + τ² I)^(-α).

    Raises
    ------
    ValueError
        If `sigma` is not positive and finite.
    """

    sigma: float | int = 1.0
    alpha: float | int = 2.0
    tau: float | int = 3.0

    def __post_init__(self) -> None:
        _positive(sigma=self.sigma)

    @cached_property
    def _field(self) -> GaussianRandomField:
        unit = GaussianRandomField(self.alpha, self.tau)
        return GaussianRandomField(self.alpha, self.tau, self.sigma / unit.deviation)

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return np.exp(self._field.sample(shape, rng))


@dataclass(frozen=True)
class Inclusions:
    """Discs of value `contrast` in a background of 1.

    Parameters
    ----------
    contrast : float
        Value inside; below 1 the discs are barriers.
    count : int
        Number of discs; they may overlap. Centres are uniform in the square.
    smallest, largest : float
        Bounds of the uniformly distributed radius, in units of the side.

    Raises
    ------
    ValueError
        If a parameter is not positive and finite, or `largest` is below `smallest`.
    """

    contrast: float | int = 1000.0
    count: int = 20
    smallest: float | int = 0.02
    largest: float | int = 0.1

    def __post_init__(self) -> None:
        _positive(contrast=self.contrast, count=self.count, smallest=self.smallest)
        if not self.smallest <= self.largest:
            raise ValueError(f"largest must be at least smallest, got {self.largest} < {self.smallest}")

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        x, y = _vertices(shape)
        a = np.ones(shape)
        for _ in range(self.count):
            (cx, cy), radius = rng.random(2), rng.uniform(self.smallest, self.largest)
            a[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = self.contrast
        return a


@dataclass(frozen=True)
class Channels:
    """Meandering channels of value `contrast` that cross a background of 1.

    A channel is the set of points within width/2 of y = c + s sin(2π(k x + φ)), measured along y,
    with c, s, k, φ random; every other one runs along y instead of x.

    Parameters
    ----------
    contrast : float
        Value in the channels; below 1 they are barriers.
    count : int
        Number of channels.
    width : float
        Width, in units of the side.
    swing : float
        Largest amplitude s of the meanders.

    Raises
    ------
    ValueError
        If a parameter is not positive and finite, or `swing` is negative.
    """

    contrast: float | int = 1000.0
    count: int = 4
    width: float | int = 0.03
    swing: float | int = 0.1

    def __post_init__(self) -> None:
        _positive(contrast=self.contrast, count=self.count, width=self.width)
        if not self.swing >= 0:
            raise ValueError(f"swing must be non-negative, got {self.swing}")

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        x, y = _vertices(shape)
        a = np.ones(shape)
        for i in range(self.count):
            along, across = (x, y) if i % 2 == 0 else (y, x)
            centre, swing, waves, phase = rng.random(), rng.uniform(0, self.swing), rng.uniform(0.5, 2), rng.random()
            path = centre + swing * np.sin(2 * np.pi * (waves * along + phase))
            a[np.abs(across - path) <= self.width / 2] = self.contrast
        return a


def _vertices(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    n, m = shape
    return np.linspace(0, 1, n)[:, None], np.linspace(0, 1, m)


LAWS: dict[str, Callable[..., Law]] = {
    "piecewise": Piecewise,
    "lognormal": LogNormal,
    "inclusions": Inclusions,
    "channels": Channels,
}


class Stored:
    """Coefficients from a ``.npy`` file: sample i is ``values[i]``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds anything but an array (samples, n, m) of numbers.
    """

    def __init__(self, path: str) -> None:
        self.values = read_array(path, "law")
        if self.values.ndim != 3:
            raise ValueError(f"law {path!r} must hold an array (samples, n, m), got shape {self.values.shape}")

    def __getitem__(self, i: int) -> Coefficient:
        return np.asarray(self.values[i], dtype=np.float64)


def build_law(name: str, arguments: dict[str, Any]) -> Law | Stored:
    """The law that `name` stands for.

    Parameters
    ----------
    name : str
        A name in `LAWS`; ``module:function`` or ``file.py:function``, called as
        ``function(shape, rng, **arguments)``; or a ``.npy`` file with an array (samples, n, m).
    arguments : dict
        Parameters of the law.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such law, or it does not take these parameters.
    """
    if name.endswith(".npy"):
        if arguments:
            raise ValueError(f"law {name!r} is an array and takes no parameters, got {', '.join(arguments)}")
        return Stored(name)
    signature = _signature(name)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        allowed = ", ".join(signature.parameters) or "none"
        raise ValueError(f"law {name!r}: {error}; its parameters are {allowed}") from None
    return LAWS[name](**arguments) if name in LAWS else partial(imported(name, "law"), **arguments)


def _signature(name: str) -> inspect.Signature:
    """The parameters of a law, without the shape and the generator that a function takes first."""
    if name in LAWS:
        return inspect.signature(LAWS[name])
    if ":" not in name:
        raise ValueError(
            f"law {name!r} is unknown: use {', '.join(LAWS)}, module:function, file.py:function or file.npy"
        )
    signature = inspect.signature(imported(name, "law"))
    return signature.replace(parameters=list(signature.parameters.values())[2:])


def law_parameters(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a law, defaults included; the SHA-256 of a file of coefficients."""
    if name.endswith(".npy"):
        return {"sha256": _checksum(name, Path(name).stat().st_mtime_ns)}
    parameters = _signature(name).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | arguments


@lru_cache(maxsize=8)
def _checksum(path: str, modified: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def law_description(name: str) -> str:
    """The docstring of a law, which says what its parameters mean."""
    if name.endswith(".npy"):
        return "coefficients from a file"
    return inspect.getdoc(LAWS[name] if name in LAWS else imported(name, "law")) or "unknown"


def imported(name: str, what: str) -> Callable[..., Any]:
    """The function that ``module:function`` or ``file.py:function`` names.

    Raises
    ------
    ValueError
        If there is no such module, file or function, or it cannot be imported.
    """
    place, _, attribute = name.partition(":")
    try:
        if place.endswith(".py"):
            return runpy.run_path(place)[attribute]
        return getattr(importlib.import_module(place), attribute)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ValueError(f"{what} {name!r}: {error}") from error
    except (AttributeError, KeyError):
        raise ValueError(f"{what} {name!r}: {place} has no {attribute}") from None
    except Exception as error:  # of the user's own file
        raise ValueError(f"{what} {name!r}: {type(error).__name__}: {error}") from error


def read_array(path: str, what: str) -> np.ndarray:
    """The numbers in a ``.npy`` file, mapped into memory.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is another kind of file.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{what} {path!r}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{what} {path!r} is no .npy file of numbers") from error
