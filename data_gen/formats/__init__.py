"""The layouts of other projects, one a module.

=========== ================================== =====================================================
format      files                              holds
=========== ================================== =====================================================
neuralop    ``.pt``                            dict of tensors x, y (N, [channels,] n, m)
fno         ``.mat`` (v5 or v7.3)              arrays coeff, sol (N, n, m); a, u (N, n, m, T), t
pdebench    HDF5                               nu, tensor, coordinates, attribute beta = f; or fields
                                               (N, T, n, m); or a group for each sample
the_well    HDF5                               t0_fields, t1_fields, … with metadata
netcdf      ``.nc``                            variables with named dimensions, through xarray
arrays      ``.npz``, ``.npy``, any HDF5       named arrays
=========== ================================== =====================================================

To add one: write its module, add its line to `FORMATS`. Reading never runs code from a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_gen.formats import arrays, fno, netcdf, neuralop, pdebench, the_well
from data_gen.formats.foreign import Foreign, Source, Told
from data_gen.formats.selection import Selection

__all__ = ["FORMATS", "Foreign", "Format", "Selection", "Source", "Told", "read_foreign"]


ORIGIN = "the equation, and what speaks for each sample"


@dataclass(frozen=True)
class Format:
    """How files of another project are read and written.

    Attributes
    ----------
    write : callable
        Writes a selection of samples of ours to a path.
    read : callable
        From a source to what is in it, or None if it is of another format.
    suffix : str, optional
        Suffix of a target that asks for this format.
    leaves_out : str
        What of a dataset of ours the format does not say, in words.
    """

    write: Callable[[Selection, Path], None]
    read: Callable[[Source], Foreign | None]
    suffix: str | None = None
    leaves_out: str = ORIGIN


FORMATS = {
    "netcdf": Format(netcdf.write, netcdf.read, ".nc"),
    "neuralop": Format(
        neuralop.write, neuralop.read, ".pt", f"coordinates, the kind of grid, splits, names of fields, {ORIGIN}"
    ),
    "fno": Format(fno.write, fno.read, ".mat", f"coordinates, the kind of grid, splits, names of fields, {ORIGIN}"),
    "pdebench": Format(pdebench.write, pdebench.read, leaves_out=f"the kind of grid, splits, {ORIGIN}"),
    "the_well": Format(the_well.write, the_well.read, leaves_out=f"splits, {ORIGIN}"),
    "arrays": Format(arrays.write, arrays.read, ".npz"),
}
"""In the order in which they are asked whether a file is theirs: the last one takes any arrays."""


def read_foreign(source: Source) -> Foreign:
    """What is in a file of another project.

    Raises
    ------
    ValueError
        If it is of no known format, or damaged.
    """
    for layout in FORMATS.values():
        try:
            foreign = layout.read(source)
        except (TypeError, LookupError, AttributeError, OverflowError) as error:
            raise ValueError(f"{source.path} is damaged, or another program's: {error}") from error
        if foreign:
            return foreign
    raise ValueError(f"{source.path} is of no known format: use .pt, .mat, .npz, .npy, .nc, or HDF5")
