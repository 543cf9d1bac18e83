"""Sizes of operators that can be compared with one another.

``small`` and ``base`` hold about 0.25 and 2.4 million real numbers (complex ones count twice; within an eighth),
whatever they cost. ``small-time`` and ``base-time`` take about equally long for a training step on 43² vertices, 0.14
and 0.6 s for eight samples on one core of a CPU (processor time, fastest of five; within a tenth there), whatever they
hold; not every operator has them. Where one has a lattice of tokens, its spacing is that of 43² vertices; MANO's is
twice that or more.
"""

from typing import Any

_LATTICE = {"spacing": 1 / 42}
_NARROW = {"window": 2, "stride": 1}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mano": {
        "small": {"width": 32, "depth": 7, "spacing": 1 / 21},
        "base": {"width": 128, "depth": 4, "head_dim": 32, "mlp_width": 512, "spacing": 1 / 21},
        "small-time": {"width": 48, "depth": 3, "head_dim": 12, **_NARROW, "spacing": 1 / 14},
        "base-time": {"width": 80, "head_dim": 20, "mlp_width": 160, **_NARROW, "spacing": 1 / 21},
    },
    "mano-published": {
        "small": {"width": 48, "depth": 6, "heads": 6, "mlp_width": 128},
        "base": {"width": 128, "depth": 9, "heads": 4, "head_dim": 32, "mlp_width": 256},
        "small-time": {"width": 36, "depth": 2, "heads": 3, "head_dim": 12, "mlp_width": 72},
        "base-time": {"width": 72, "head_dim": 18, "mlp_width": 144},
    },
    "fno": {
        "small": {"modes": 12, "width": 19},
        "base": {"modes": 20, "width": 37},
        "small-time": {"modes": 12, "width": 52},
        "base-time": {"modes": 20, "width": 108},
    },
    "tfno": {
        "small": {"modes": 12, "width": 54},
        "base": {"modes": 20, "width": 114},
        "small-time": {"modes": 12, "width": 54},
        "base-time": {"modes": 20, "width": 118},
    },
    "uno": {
        "small": {"width": 16},
        "base": {"width": 48},
        "small-time": {"width": 32},
        "base-time": {"width": 90},
    },
    "vit": {
        "small": {"width": 64, "depth": 7, "patch": 2, **_LATTICE},
        "base": {"width": 192, "depth": 7, "heads": 6, "patch": 2, **_LATTICE},
        "small-time": {"width": 32, "depth": 2, "patch": 2, **_LATTICE},
        "base-time": {"width": 96, "depth": 7, "patch": 2, **_LATTICE},
    },
    "swin": {
        "small": {"width": 24, **_LATTICE},
        "base": {"width": 78, **_LATTICE},
        "small-time": {"width": 18, **_LATTICE},
        "base-time": {"width": 72, **_LATTICE},
    },
    "unet": {
        "small": {"width": 19, **_LATTICE},
        "base": {"width": 29, "levels": 4, **_LATTICE},
        "small-time": {"width": 31, **_LATTICE},
        "base-time": {"width": 54, "levels": 4, **_LATTICE},
    },
    "transolver": {
        "small": {"width": 48, "depth": 5, "heads": 4, **_LATTICE},
        "base": {"width": 128, "depth": 7, "slices": 64, **_LATTICE},
    },
    "ho-fno": {
        "small": {"modes": 12, "width": 64, "depth": 5},
        "base": {"modes": 20, "width": 160, "depth": 7},
    },
    "lrsa": {
        "small": {"width": 48, "depth": 5, "heads": 4, **_LATTICE},
        "base": {"width": 128, "depth": 7, "latents": 64, **_LATTICE},
    },
}


def preset(operator: str, name: str) -> dict[str, Any]:
    """Arguments of an operator's preset.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    known = PRESETS.get(operator, {})
    if name not in known:
        raise ValueError(f"operator {operator!r} has no preset {name!r}; it has {', '.join(known) or 'none'}")
    return known[name]
