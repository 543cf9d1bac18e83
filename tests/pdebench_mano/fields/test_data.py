"""The dataset as PyTorch sees it."""

import pickle

import h5py
import numpy as np
import pytest
import torch

from data_gen import generate
from pdebench_mano.fields import data as fields_data
from pdebench_mano.fields.data import DarcyDataset, Dataset, View


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 12, (25, 13), seed=3)
    return path


def test_fields_are_those_of_the_file_at_every_stride(path):
    with h5py.File(path) as file:
        nu, tensor = file["nu"][:], file["tensor"][:]
    for resolution, stride in [(25, 1), (13, 2), (9, 3), (7, 4)]:
        data = DarcyDataset(path, resolution=resolution)
        for index in (11, 0):
            a, u = data[index]
            np.testing.assert_array_equal(a[0], nu[index, ::stride, ::stride])
            np.testing.assert_array_equal(u, tensor[index, :, ::stride, ::stride])


def test_splits_are_those_of_the_file_and_do_not_overlap(path):
    parts = [DarcyDataset(path, split) for split in ("train", "val", "test")]
    samples = np.concatenate([part.samples for part in parts])
    assert sorted(samples) == list(range(12))
    a, _ = parts[1][0]
    expected, _ = DarcyDataset(path)[int(parts[1].samples[0])]
    assert torch.equal(a, expected)


def test_reading_without_a_cache_and_in_another_process_gives_the_same(path):
    kept, read = DarcyDataset(path, resolution=13), DarcyDataset(path, resolution=13, cache_bytes=0)
    copied = pickle.loads(pickle.dumps(read))
    for index in (3, 3, 7):
        for other in (read, copied):
            assert all(torch.equal(x, y) for x, y in zip(kept[index], other[index], strict=True))
    assert read._cache is None, "a split larger than the cache is never held in memory"


def test_what_a_view_has_read_whole_another_of_the_same_samples_does_not_read_again(path, monkeypatch):
    data = Dataset(path)
    first = data.view("train", 13)
    first.read_all()
    others = [data.view("train", 13, indices=[2, 1]), data.view("train", 25), data.view("val", 13)]
    for view in others:
        view.read_all()
    with monkeypatch.context() as patched:
        patched.setattr(View, "_read", None)
        same = data.view("train", 13)
        same.read_all()
        assert torch.equal(same.batch(range(len(same)))[1], first.batch(range(len(first)))[1])
    for view in others:
        read = DarcyDataset(path, view.split, view.resolution, cache_bytes=0)
        places = [read.samples.tolist().index(sample) for sample in view.samples]
        assert all(map(torch.equal, view.batch(range(len(view))), read.batch(places)))


def test_no_more_is_remembered_than_a_view_may_keep(path, monkeypatch):
    data = Dataset(path)
    view = data.view(resolution=13)
    monkeypatch.setattr(fields_data, "CACHE_BYTES", 4 * 2 * 12 * 13 * 7)
    view.read_all()
    assert data.remembered((type(view), 13, view.samples.tobytes()), lambda: pytest.fail("forgotten")) is not None
    data.view("test").read_all()
    assert list(data._remembered) == [(type(view), 25, data.view("test").samples.tobytes())]
    assert pickle.loads(pickle.dumps(data))._remembered == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resolution": 12}, "possible are .*25"),
        ({"resolution": 4}, "25×13 vertices: possible are 3, 5, 7, 9, 13, 25"),
        ({"split": "validation"}, "train, val"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(path, arguments, words):
    with pytest.raises(ValueError, match=words):
        DarcyDataset(path, **arguments)
    with pytest.raises(ValueError, match=words):
        Dataset(path).view(**arguments)


def test_a_view_pairs_inputs_with_the_last_state(path):
    assert torch.equal(Dataset(path).view(pairs="final")[3][1], DarcyDataset(path)[3][1])
    with pytest.raises(ValueError, match="pairs must be final or step, got 'every'"):
        Dataset(path).view(pairs="every")


@pytest.mark.parametrize(("dataset", "value", "words"), [("tensor", np.nan, "finite"), ("nu", -1.0, "positive")])
def test_unfit_values_are_found_when_read(path, tmp_path, dataset, value, words):
    broken = tmp_path / "broken.hdf5"
    broken.write_bytes(path.read_bytes())
    with h5py.File(broken, "r+") as file:
        file[dataset][5, ..., 2, 2] = value
    data = DarcyDataset(broken)
    data[4]
    with pytest.raises(ValueError, match=f"{words}.* sample 5"):
        data[5]
