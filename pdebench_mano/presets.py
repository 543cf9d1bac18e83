"""Sizes of operators that can be compared with one another.

``small`` and ``base`` hold about 0.25 and 2.4 million real numbers (complex ones count twice; within an eighth),
whatever they cost. Where an operator has a lattice, its spacing is that of 43² vertices.
"""

from typing import Any

_LATTICE = {"spacing": 1 / 42}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mano": {
        "small": {"width": 32, "depth": 7},
        "base": {"width": 128, "depth": 4, "head_dim": 32, "mlp_width": 512},
    },
    "mano-published": {
        "small": {"width": 48, "depth": 6, "heads": 6, "mlp_width": 128},
        "base": {"width": 128, "depth": 9, "heads": 4, "head_dim": 32, "mlp_width": 256},
    },
    "fno": {
        "small": {"modes": 12, "width": 19},
        "base": {"modes": 20, "width": 37},
    },
    "tfno": {
        "small": {"modes": 12, "width": 54},
        "base": {"modes": 20, "width": 114},
    },
    "uno": {
        "small": {"width": 16},
        "base": {"width": 48},
    },
    "vit": {
        "small": {"width": 64, "depth": 7, "patch": 2, **_LATTICE},
        "base": {"width": 192, "depth": 7, "heads": 6, "patch": 2, **_LATTICE},
    },
    "swin": {
        "small": {"width": 24, **_LATTICE},
        "base": {"width": 78, **_LATTICE},
    },
    "unet": {
        "small": {"width": 19, **_LATTICE},
        "base": {"width": 29, "levels": 4, **_LATTICE},
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
