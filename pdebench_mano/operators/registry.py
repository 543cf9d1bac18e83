"""A name → what predicts: an operator to be trained, or a reference that is not; a user's own as ``module:Class``."""

from typing import Any

from torch import nn

from data_gen.lookup import construct, find, find_callable
from pdebench_mano.operators.names import OPERATORS, REFERENCES
from pdebench_mano.operators.presets import PRESETS, preset

__all__ = ["OPERATORS", "REFERENCES", "build_operator", "build_reference"]


def build_operator(name: str, in_channels: int, out_channels: int, **arguments: Any) -> nn.Module:
    """Construct an operator by name, called as ``Class(in_channels=…, out_channels=…, **arguments)``.

    A registered operator takes ``preset``, too, see `pdebench_mano.operators.presets`; other arguments override it.

    Raises
    ------
    ValueError
        If there is no such operator, it does not take the arguments, or what it builds is no module.
    """
    if name in PRESETS and "preset" in arguments:
        arguments = preset(name, arguments.pop("preset")) | arguments
    factory = find_callable(name, OPERATORS, "operator")
    channels = {"in_channels": in_channels, "out_channels": out_channels}
    operator = construct(factory, f"operator {name!r}", channels | arguments)
    if not isinstance(operator, nn.Module):
        raise ValueError(f"operator {name!r} must be a torch.nn.Module, got {type(operator).__name__}")
    return operator


def build_reference(name: str, *arguments: Any, **named: Any) -> Any:
    """Construct a reference by its name in `REFERENCES`, with the arguments of its class."""
    return find(name, REFERENCES, "reference")(*arguments, **named)
