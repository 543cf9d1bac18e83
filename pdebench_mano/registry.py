"""Names → operators and regimes, and a user's own by ``module:Class`` or ``file.py:Class``.

To add one: write its file, add its line here.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pdebench_mano.presets import PRESETS, preset
from pdebench_mano.regimes import TrainingRegime

OPERATORS = {
    "mano": "pdebench_mano.mano:MANO",
    "mano-published": "pdebench_mano.mano:PublishedMANO",
    "fno": "baselines.fno:FNO",
    "tfno": "baselines.tfno:TFNO",
    "uno": "baselines.uno:UNO",
    "vit": "baselines.vit:ViT",
    "swin": "baselines.swin:Swin",
    "unet": "baselines.unet:UNet",
    "orthogonal-mlp": "pdebench_mano.orthogonal:GridMLP",
    "orthogonal-fno": "pdebench_mano.orthogonal:OrthogonalFNO",
    "orthogonal-conv": "pdebench_mano.orthogonal:OrthogonalConv",
}

REGIMES = {
    "backprop": "pdebench_mano.regimes:Backprop",
    "pepita": "pdebench_mano.regimes:Pepita",
    "foton": "pdebench_mano.regimes:Foton",
    "transported-foton": "pdebench_mano.regimes:TransportedFoton",
}


def resolve(name: str, known: Mapping[str, str], what: str) -> Any:
    """The object that `name` stands for: a registered name, ``module:Class`` or ``file.py:Class``.

    Raises
    ------
    ValueError
        If the name is unknown, or its module, file or class does not exist or cannot be imported.
    """
    place, _, attribute = known.get(name, name).partition(":")
    if not attribute:
        raise ValueError(f"{what} {name!r} is unknown: use {', '.join(known)}, module:Class or file.py:Class")
    if place.endswith(".py") and not Path(place).is_file():
        raise ValueError(f"{what} {name!r}: there is no file {place}")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"{what} {name!r}: no module named {error.name!r} on the Python path") from error
    except (Exception, SystemExit) as error:  # of the user's own file
        raise ValueError(f"{what} {name!r}: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(f"{what} {name!r}: {place} has no {attribute}") from None


def _call(factory: Any, what: str, name: str, arguments: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        allowed = ", ".join(inspect.signature(factory).parameters)
        raise ValueError(f"{what} {name!r}: {error}; its arguments are {allowed or 'none'}") from None
    try:
        return factory(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} {name!r}: {error}") from error
    except Exception as error:  # of the user's own class, or of a library with arguments it does not expect
        raise ValueError(f"{what} {name!r}: {type(error).__name__}: {error}") from error


def build_operator(name: str, in_channels: int, out_channels: int, **arguments: Any) -> nn.Module:
    """Construct an operator by name, called as ``Class(in_channels=…, out_channels=…, **arguments)``.

    A registered operator takes ``preset``, too, see `pdebench_mano.presets`; other arguments override it.

    Raises
    ------
    ValueError
        If there is no such operator, it does not take the arguments, or what it builds is no module.
    """
    if name in PRESETS and "preset" in arguments:
        arguments = preset(name, arguments.pop("preset")) | arguments
    factory = resolve(name, OPERATORS, "operator")
    channels = {"in_channels": in_channels, "out_channels": out_channels}
    operator = _call(factory, "operator", name, channels | arguments)
    if not isinstance(operator, nn.Module):
        raise ValueError(f"operator {name!r} must be a torch.nn.Module, got {type(operator).__name__}")
    return operator


def build_regime(name: str, **arguments: Any) -> TrainingRegime:
    """Construct a training regime by name."""
    return _call(resolve(name, REGIMES, "regime"), "regime", name, arguments)
