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
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from data_gen.random_fields import GaussianRandomField

Coefficient = Float[np.ndarray, "n m"]
Law = Callable[[tuple[int, int], np.random.Generator], np.ndarray]


def _positive(**values: float) -> None:
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
    """

    high: float = 12.0
    low: float = 3.0
    alpha: float = 2.0
    tau: float = 3.0

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
    """

    sigma: float = 1.0
    alpha: float = 2.0
    tau: float = 3.0

    def __post_init__(self) -> None:
        _positive(sigma=self.sigma)

    @cached_property
    def _field(self) -> GaussianRandomField:
        unit = GaussianRandomField(self.alpha, self.tau)
        return GaussianRandomField(self.alpha, self.tau, self.sigma / unit.deviation)

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return np.exp(self._field.sample(shape, rng))


LAWS: dict[str, Callable[..., Law]] = {
    "piecewise": Piecewise,
    "lognormal": LogNormal,
}


class Stored:
    """Coefficients from a ``.npy`` file: sample i is ``values[i]``."""

    def __init__(self, path: str) -> None:
        try:
            self.values = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(f"law {path!r}: no such file") from None
        except ValueError as error:
            raise ValueError(f"law {path!r} is no .npy file of numbers") from error
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
    return LAWS[name](**arguments) if name in LAWS else partial(_imported(name), **arguments)


def _signature(name: str) -> inspect.Signature:
    """The parameters of a law, without the shape and the generator that a function takes first."""
    if name in LAWS:
        return inspect.signature(LAWS[name])
    signature = inspect.signature(_imported(name))
    return signature.replace(parameters=list(signature.parameters.values())[2:])


def law_parameters(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a law, defaults included; the SHA-256 of a file of coefficients."""
    if name.endswith(".npy"):
        with Path(name).open("rb") as stream:
            return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    parameters = _signature(name).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | arguments


def _imported(name: str) -> Callable[..., np.ndarray]:
    place, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(
            f"law {name!r} is unknown: use {', '.join(LAWS)}, module:function, file.py:function or a .npy file"
        )
    try:
        if place.endswith(".py"):
            return runpy.run_path(place)[attribute]
        return getattr(importlib.import_module(place), attribute)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ValueError(f"law {name!r}: {error}") from error
    except (AttributeError, KeyError):
        raise ValueError(f"law {name!r}: {place} has no {attribute}") from None
