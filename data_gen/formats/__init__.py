"""The layouts of other projects, one a module.

=========== ================================== =====================================================
format      written as                         holds
=========== ================================== =====================================================
neuralop    ``.pt``                            dict of tensors x, y (N, n, m); x bool or real
fno         ``.mat`` (v5 or v7.3)              arrays coeff, sol (N, n, m)
pdebench    HDF5                               nu, tensor, coordinates, attribute beta = f
the_well    HDF5, export only                  coefficient, solution as t0_fields, with metadata
=========== ================================== =====================================================

To add one: write its module, add its line to `FORMATS`. Reading never runs code from a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from data_gen.formats import fno, neuralop, pdebench, the_well
from data_gen.formats.foreign import Foreign, Selection

__all__ = ["FORMATS", "Foreign", "Format", "Selection", "read_foreign"]


@dataclass(frozen=True)
class Format:
    """How files of another project are read and written.

    Attributes
    ----------
    write : callable
        Writes a selection of samples of ours to a path.
    read : callable or None
        From a path and, where it is HDF5, the open file, to what is in it, or None if it is of another format.
        None for a format that is for export only.
    suffix : str, optional
        Suffix of a target that asks for this format.
    """

    write: Callable[[Selection, Path], None]
    read: Callable[[Path, h5py.File | None], Foreign | None] | None = None
    suffix: str | None = None


FORMATS = {
    "neuralop": Format(neuralop.write, neuralop.read, ".pt"),
    "fno": Format(fno.write, fno.read, ".mat"),
    "pdebench": Format(pdebench.write, pdebench.read),
    "the_well": Format(the_well.write),
}


def read_foreign(path: Path, file: h5py.File | None) -> Foreign:
    """What is in a file of another project, which is open as `file` where it is HDF5.

    Raises
    ------
    ValueError
        If it is of no known format.
    """
    for layout in FORMATS.values():
        if layout.read and (foreign := layout.read(path, file)):
            return foreign
    if file is not None:
        raise ValueError(f"{path} holds neither nu and tensor (PDEBench) nor coeff and sol (FNO)")
    raise ValueError(f"{path} is of no known format: use .pt, .mat, or HDF5 in PDEBench's layout")
