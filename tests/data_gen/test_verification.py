"""`inspect --verify` finds what is wrong, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from data_gen import generate, solve, storage
from data_gen.shards import complete_shards
from data_gen.verification import Finding, verify


@pytest.fixture
def dataset(tmp_path):
    """Eight samples at 65², arithmetic means."""
    generate(tmp_path / "d.hdf5", 8, 65)
    return tmp_path / "d.hdf5"


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"law": "lognormal", "mean": "harmonic"},
        {"law": "inclusions", "law_args": {"contrast": 1e6}},
        {"law": "inclusions", "law_args": {"contrast": 1e6}, "mean": "average"},
        {"mean": "geometric"},
        {"law": "channels", "law_args": {"contrast": 1e-6}},
        {"source": -3.0},
        {"source": lambda x, y: np.sin(6 * x) * y},
        {"resolution": (33, 80)},
    ],
    ids=lambda recipe: "-".join(recipe) or "default",
)
def test_nothing_is_found_in_a_sound_file(tmp_path, recipe):
    generate(tmp_path / "d.hdf5", **{"samples": 4, "resolution": 65} | recipe)
    assert list(verify(tmp_path / "d.hdf5")) == []


def rewrite(path, sample, change):
    """Change a sample and make its checksums true again, as a wrong generator would have written it."""
    with h5py.File(path, "r+") as file:
        a, u = file["nu"][sample], file["tensor"][sample]
        change(a, u[0])
        file["nu"][sample], file["tensor"][sample] = a, u
        file["quality/sha256"][sample] = storage.checksum(a, u)
        info = storage.describe(path, file)
        file.attrs["digest"] = storage.digest(info.grid.kind, info.splits, file["quality/sha256"][:])
        file.attrs["seal"] = storage.seal(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, u: u.__setitem__((5, 5), np.nan), "NaN"),
        (lambda a, u: a.__setitem__((5, 5), -1), "not positive"),
        (lambda a, u: u.__setitem__((32, 32), u[32, 32] * 1.001), "the residual is"),
        (lambda a, u: a.__setitem__((32, 32), a[32, 32] * 1.01), "the residual is"),
        (lambda a, u: u.__imul__(np.float32(1 + 2e-6)), "the flux is out of balance"),
        (lambda a, u: u.__setitem__((0, 9), 1e-6), "not zero on the boundary"),
        (lambda a, u: u.__imul__(-1), "maximum principle"),
    ],
)
def test_a_wrong_sample_is_named_with_the_reason(dataset, change, message):
    rewrite(dataset, 5, change)
    findings = list(verify(dataset))
    assert {finding.sample for finding in findings} == {5}
    assert any(message in finding.message for finding in findings)
    assert str(findings[0]).startswith("sample 5: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda a, u: u.__setitem__((32, 32), u[32, 32] + 0.05 * u.max()),
        lambda a, u: a.__setitem__((32, 32), 2 * a[32, 32]),
        lambda a, u: u.__imul__(-1),
        lambda a, u: u.__setitem__(slice(1, None), u[:-1].copy()),
    ],
    ids=["value", "coefficient", "sign", "shift"],
)
def test_a_wrong_average_is_found_by_solving_again(tmp_path, change):
    generate(tmp_path / "d.hdf5", samples=2, resolution=65, mean="average")
    rewrite(tmp_path / "d.hdf5", 1, change)
    (finding,) = verify(tmp_path / "d.hdf5")
    assert finding.sample == 1
    assert "solved for again" in finding.message


def test_a_solution_on_a_grid_half_as_fine_is_found(dataset):
    """What comes of mixing up resolutions: smooth, positive, plausible, and wrong."""
    with h5py.File(dataset) as file:
        a = file["nu"][3].astype(np.float64)
    coarse = solve(a[::2, ::2])

    def interpolate(_, u):
        u[::2, ::2] = coarse
        u[1::2] = (u[:-2:2] + u[2::2]) / 2
        u[:, 1::2] = (u[:, :-2:2] + u[:, 2::2]) / 2

    rewrite(dataset, 3, interpolate)
    assert {finding.sample for finding in verify(dataset)} == {3}


def test_a_flipped_byte_is_found(dataset):
    with h5py.File(dataset) as file:
        offset = file["tensor"].id.get_offset() + (6 * 65 * 65 + 20 * 65 + 30) * 4
    data = bytearray(dataset.read_bytes())
    data[offset] ^= 1
    dataset.write_bytes(data)
    assert list(verify(dataset)) == [Finding(6, "the checksum differs")]


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["splits/test"].__setitem__(0, 0),
        lambda file: file["x-coordinate"].__setitem__(3, 0.3),
        lambda file: file["quality/relative_residual"].__setitem__(3, 1e-12),
        lambda file: file.attrs.__setitem__("rtol", 1e-3),
    ],
)
def test_changed_descriptions_are_found(dataset, change):
    with h5py.File(dataset, "r+") as file:
        change(file)
    assert {finding.sample for finding in verify(dataset)} == {None}


def test_broken_shards_are_found(tmp_path):
    path = tmp_path / "d.hdf5"
    with ThreadPoolExecutor(1) as pool:
        generate(path, 8, 33, executor=pool, shard_size=2, merge=False)
    shards = complete_shards(tmp_path / "d.hdf5.shards")
    assert list(verify(path)) == []
    for shard, damage in ((shards[0], b""), (shards[1], shards[1].read_bytes()[:-500])):
        shard.write_bytes(damage)
    shards[2].unlink()
    flipped = bytearray(shards[3].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    shards[3].write_bytes(flipped)
    messages = {finding.sample: finding.message for finding in verify(path)}
    assert sorted(messages) == list(range(8))
    assert messages[0] == messages[1] == f"shard 000000000.hdf5 has 0 bytes, not {len(flipped)}"
    assert "bytes, not" in messages[2]
    assert "missing" in messages[4]
    assert "checksum" in messages[7]
