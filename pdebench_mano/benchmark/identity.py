"""What determines the outcome of a training: an equal one is not run again, and another one is.

What a configuration does not say is meant by a default. Those that published records were made with are kept in
``published/defaults.json``, read off no class: a default, or a value of a preset, that is another one today is said.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_gen.lookup import find
from data_gen.problem import plain
from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.training.names import PUBLISHED_NAMES
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.regimes import REGIMES
from pdebench_mano.training.runs import sources

PUBLISHED_DEFAULTS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "published" / "defaults.json").read_text(encoding="utf-8")
)


def identity(config: RunConfig, data: str) -> dict[str, Any]:
    """All that determines the outcome, where it is not what published records mean by saying nothing.

    Parameters
    ----------
    config : RunConfig
    data : str
        What the data are, wherever they lie.

    Raises
    ------
    ValueError
        If there is no such operator or regime.
    """
    published = PUBLISHED_DEFAULTS["training"]
    fields = config.model_dump(exclude={"checkpoint_seconds"})
    fields["regime"] = PUBLISHED_NAMES.get(config.regime, config.regime)
    said = {name: value for name, value in fields.items() if plain(value) != published.get(name, ...)}
    beyond = {"changed": changed(config), "sources": sources(config)}
    return said | {name: value for name, value in beyond.items() if value} | {"data": data}


def changed(config: RunConfig) -> dict[str, Any]:
    """The defaults and preset values that a configuration relies on, and that are not those of published records."""
    given = dict(config.operator_args)
    values = PRESETS.get(config.operator, {}).get(given.pop("preset", ""), {})
    parts = {
        "preset": differing(values, PUBLISHED_DEFAULTS["presets"].get(config.operator, {}), config.operator_args),
        "operator": relied_on(config.operator, OPERATORS, values | given, "operators"),
        "regime": relied_on(config.regime, REGIMES, config.regime_args, "regimes"),
    }
    return {name: part for name, part in parts.items() if part}


def differing(values: Mapping[str, Any], published: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the preset that is asked for, where the published one has others."""
    known = published.get(arguments.get("preset", ""), {})
    return {name: plain(value) for name, value in values.items() if plain(value) != known.get(name, ...)}


def relied_on(name: str, registered: Mapping[str, Any], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Defaults of a registered class that nothing given overrides, where the published ones are others."""
    if name not in registered:
        return {}
    published = PUBLISHED_DEFAULTS[what].get(name, {})
    now = defaults(find(name, registered, what))
    return {
        argument: plain(value)
        for argument, value in now.items()
        if argument not in given and plain(value) != published.get(argument, ...)
    }


def defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Default arguments of a class, with those of the class that it passes further arguments on to."""
    found: dict[str, Any] = {}
    for each in inspect.getmro(factory) if inspect.isclass(factory) else (factory,):
        if inspect.isclass(each) and "__init__" not in vars(each):
            continue
        parameters = inspect.signature(each).parameters.values()
        found = {p.name: p.default for p in parameters if p.default is not p.empty} | found
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found
