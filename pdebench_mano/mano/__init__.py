"""MANO, the multipole attention neural operator: its model, its attention on a lattice and on the grid, its kernels."""

from pdebench_mano.mano.model import MANO, PublishedMANO

__all__ = ["MANO", "PublishedMANO"]
