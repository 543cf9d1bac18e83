"""Laws of random coefficients a(x) > 0.

A law is a function ``law(shape, rng) -> a`` from a vertex grid and a random generator to an (n, m)
array. The laws here draw a function of x first and sample it afterwards, so that one seed is one
coefficient on every grid. To add one: write its class, add its line to `LAWS`.
"""

import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from data_gen.laws.law import Law
from data_gen.laws.lognormal import LogNormal
from data_gen.laws.mixture import Mixture
from data_gen.laws.phases import Piecewise
from data_gen.laws.shapes import Channels, Inclusions
from data_gen.laws.stored import Stored
from data_gen.lookup import find, find_callable

__all__ = ["LAWS", "Law", "build_law", "law_description", "law_parameters"]

LAWS: dict[str, Callable[..., Law]] = {
    "piecewise": Piecewise,
    "lognormal": LogNormal,
    "inclusions": Inclusions,
    "channels": Channels,
    "mixture": Mixture,
}


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
    law = find_callable(name, LAWS, "law")
    return law(**arguments) if name in LAWS else partial(law, **arguments)


def _signature(name: str) -> inspect.Signature:
    """The parameters of a law, without the shape and the generator that a function takes first."""
    signature = inspect.signature(find_callable(name, LAWS, "law"))
    return signature if name in LAWS else signature.replace(parameters=list(signature.parameters.values())[2:])


def law_parameters(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a law, defaults included; the SHA-256 of a file of coefficients."""
    if name.endswith(".npy"):
        return {"sha256": _checksum(name, Path(name).stat().st_mtime_ns)}
    parameters = _signature(name).parameters.values()
    whole = {p.name: p.default for p in parameters if p.default is not p.empty} | arguments
    return Mixture.complete(whole) if name == "mixture" else whole


@lru_cache(maxsize=8)
def _checksum(path: str, modified: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def law_description(name: str) -> str:
    """The docstring of a law, which says what its parameters mean."""
    if name.endswith(".npy"):
        return "coefficients from a file"
    return inspect.getdoc(find(name, LAWS, "law")) or "unknown"
