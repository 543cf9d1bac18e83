"""What regimes are called: `foton` is the published rule, `foton-latent` this project's form of it.

An earlier version called the latter foton, and the published rule foton with ``inject=input``. Configurations of today
say where foton injects, so that no file can be taken for one of the other version.
"""

from collections.abc import Mapping
from typing import Any

LATENT = "foton-latent"
REGIME_NAMES = ("backprop", "pepita", LATENT, "transported-foton", "foton")
"""Those of `pdebench_mano.training.regimes`, which imports PyTorch."""
PUBLISHED_NAMES = {LATENT: "foton"}
"""What keys of records call a regime, where that is not its name."""


def said_in_full(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that says where foton injects the error: at the input, unless it says something else."""
    if fields.get("regime") != "foton":
        return dict(fields)
    return {**fields, "regime_args": {"inject": "input"} | dict(fields.get("regime_args") or {})}


def of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in today's words, which may have been written in those of an earlier version.

    Examples
    --------
    >>> of_today({"regime": "foton", "regime_args": {"eta": 0.5}})
    {'regime': 'foton-latent', 'regime_args': {'eta': 0.5}}
    """
    earlier = config.get("regime") == "foton" and "inject" not in config.get("regime_args", {})
    return {**config, "regime": LATENT} if earlier else dict(config)
