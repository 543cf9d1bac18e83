"""A file is written whole, or not at all."""

import numpy as np
import pytest

from data_gen import storage
from data_gen.grid import Grid
from data_gen.storage import Block, Header


def block(k):
    """Samples of ones."""
    return Block(np.ones((k, 4, 4), np.float32), np.zeros((k, 1, 4, 4), np.float32))


@pytest.mark.parametrize("blocks", [[3, 3], [3, 5], []])
def test_nothing_is_left_where_the_wrong_number_of_samples_comes(tmp_path, blocks):
    header = Header(7, Grid((4, 4), "left"), {"equation": "unknown"})
    with pytest.raises(ValueError, match="7 samples were announced"):
        storage.write(tmp_path / "x.hdf5", header, map(block, blocks))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing_half_written(tmp_path):
    import resource
    import signal

    header = Header(500, Grid((4, 4), "left"), {"equation": "unknown"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(OSError, match="nothing is left half-written"):
            storage.write(tmp_path / "x.hdf5", header, [block(500)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
