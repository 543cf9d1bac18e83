"""Names → what predicts: operators to be trained, and references that are not; a user's own as ``module:Class``.

To add one: write its file, add its line here.
"""

from typing import Any

from torch import nn

from data_gen.lookup import construct, find, find_callable
from pdebench_mano.operators.presets import PRESETS, preset

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
    "orthogonal-mano": "pdebench_mano.orthogonal:OrthogonalMANO",
    "transolver": "baselines.transolver:Transolver",
    "ho-fno": "baselines.ho_fno:HOFNO",
}

REFERENCES = {
    "upsampled": "baselines.upsampling:Upsampled",
    "solver": "baselines.coarse_solver:CoarseSolver",
    "mean": "baselines.mean_solution:MeanSolution",
    "persistence": "baselines.persistence:Persistence",
}
"""Predictors that stand beside operators without being trained."""


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
