"""Two samples are the same if their inputs are: whatever was done to make another file of them."""

from pathlib import Path

import numpy as np
import pytest

from data_gen import convert, generate
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.samples import Samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve samples at 33², and what others might make of them."""
    folder = tmp_path_factory.mktemp("samples")
    generate(folder / "first.hdf5", 12, 33, seed=4)
    generate(folder / "larger.hdf5", 20, 33, seed=4)
    generate(folder / "coarser.hdf5", 12, 17, seed=4)
    generate(folder / "harmonic.hdf5", 12, 33, seed=4, mean="harmonic")
    generate(folder / "loose.hdf5", 12, 33, seed=4, rtol=1e-6)
    generate(folder / "source.hdf5", 12, 33, seed=4, source=2.0)
    convert(folder / "first.hdf5", folder / "copy.pt")
    convert(folder / "copy.pt", folder / "copy.hdf5", grid="vertices")
    convert(folder / "first.hdf5", folder / "part.pt", resolution=17)
    convert(folder / "part.pt", folder / "part.hdf5", grid="vertices")
    generate(folder / "other.hdf5", 12, 33, seed=5)
    generate(folder / "law.hdf5", 12, 33, seed=4, law="lognormal")
    return folder


def samples(path, positions=range(6)):
    return Samples.of(Dataset(path), positions)


@pytest.mark.parametrize("name", ["larger", "coarser", "harmonic", "loose", "source", "copy", "part"])
def test_the_same_inputs_are_found_again(folder, name):
    trained = samples(folder / "first.hdf5", range(3, 9))
    assert samples(folder / f"{name}.hdf5").shared(trained) == [3, 4, 5]


@pytest.mark.parametrize("name", ["other", "law"])
def test_others_are_others(folder, name):
    assert samples(folder / f"{name}.hdf5").shared(samples(folder / "first.hdf5")) == []


def test_smooth_inputs_are_known_by_their_draw_where_rounding_differs(folder):
    generate(folder / "smooth.hdf5", 4, 33, seed=4, law="lognormal", law_args={"sigma": 1.5})
    generate(folder / "rough.hdf5", 4, 17, seed=4, law="lognormal", law_args={"sigma": 1.5})
    assert samples(folder / "rough.hdf5", [0, 1]).shared(samples(folder / "smooth.hdf5", [1, 2])) == [1]


def test_a_reordered_copy_is_known_by_its_inputs(folder, tmp_path):
    import torch

    copy = torch.load(folder / "copy.pt", weights_only=True)
    torch.save({name: values.flip(0) for name, values in copy.items()}, tmp_path / "flipped.pt")
    convert(tmp_path / "flipped.pt", tmp_path / "flipped.hdf5", grid="vertices")
    assert samples(tmp_path / "flipped.hdf5", [0, 11]).shared(samples(folder / "first.hdf5", [0])) == [11]


def test_they_are_kept_and_read_back(folder, tmp_path):
    kept = samples(folder / "first.hdf5")
    kept.write(tmp_path / "samples.json")
    assert Samples.read(tmp_path / "samples.json") == kept
    assert {len(digests) for digests in kept.inputs.values()} == {6}
    assert np.unique(list(kept.inputs.values())[-1]).size == 6
    assert Path(tmp_path / "samples.json").stat().st_size < 4000
