"""A dataset is its recipe: not its workers, shards, order, kills or machine's mood."""

import concurrent.futures
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_gen import Grid, build_problem, generate, read_info, solve, tasks
from data_gen.laws import LAWS
from data_gen.problem import samples_at_once
from data_gen.problems.darcy.solvers import NotConverged
from data_gen.recipe import Recipe, splits
from data_gen.samples import draw
from data_gen.shards import complete_shards


def content(path):
    """All datasets and attributes of a file."""
    items = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: items.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return {name: values.tobytes() for name, values in items.items()}, dict(file.attrs)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """20 samples at 33², made in one piece."""
    path = tmp_path_factory.mktemp("reference") / "d.hdf5"
    generate(path, 20, 33, seed=5)
    return path


@pytest.mark.parametrize(("workers", "shard_size"), [(1, 1), (1, 7), (2, 3)])
def test_content_does_not_depend_on_workers_or_shards(reference, tmp_path, workers, shard_size):
    generate(tmp_path / "d.hdf5", 20, 33, seed=5, workers=workers, shard_size=shard_size)
    assert (tmp_path / "d.hdf5").read_bytes() == reference.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["d.hdf5"]


def test_any_executor_and_virtual_datasets(reference, tmp_path):
    path = tmp_path / "d.hdf5"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        info = generate(path, 20, 33, seed=5, executor=pool, shard_size=6, merge=False)
    assert info.digest == read_info(reference).digest
    (virtual, attributes), (plain, expected) = content(path), content(reference)
    assert attributes == expected
    assert {name: virtual[name] for name in plain} == plain
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("d.hdf5", "d.hdf5.shards"):
        shutil.move(tmp_path / name, moved / name)
    assert content(moved / "d.hdf5")[0] == virtual
    generate(moved / "d.hdf5", 20, 33, seed=5)
    assert (moved / "d.hdf5").read_bytes() == reference.read_bytes()
    assert not (moved / "d.hdf5.shards").exists()


def test_a_missing_shard_is_named_on_opening(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        generate(tmp_path / "d.hdf5", 4, 9, executor=pool, shard_size=2, merge=False)
    (tmp_path / "d.hdf5.shards" / "000000002.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard .*000000002\.hdf5 is missing"):
        read_info(tmp_path / "d.hdf5")


def test_a_larger_set_begins_with_the_smaller(reference, tmp_path):
    generate(tmp_path / "d.hdf5", 25, 33, seed=5)
    with h5py.File(tmp_path / "d.hdf5") as larger, h5py.File(reference) as smaller:
        for name in ("nu", "tensor"):
            np.testing.assert_array_equal(larger[name][:20], smaller[name][:])
        assert len({values.tobytes() for values in larger["nu"][:]}) == 25


def test_labels_are_solutions_for_the_stored_coefficients(reference):
    with h5py.File(reference) as file:
        for a, u in zip(file["nu"][:3], file["tensor"][:3, 0], strict=True):
            np.testing.assert_array_equal(u, solve(a.astype(np.float64)).astype(np.float32))


def test_same_command_again_changes_nothing(reference, tmp_path):
    path = Path(shutil.copy(reference, tmp_path))
    before = path.read_bytes(), path.stat().st_mtime_ns
    done = []
    generate(path, 20, 33, seed=5, progress=lambda *count: done.append(count))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert done == [(20, 20)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, "seed is 5 there, 6 here"),
        ({"samples": 21}, "samples is 20 there, 21 here"),
        ({"law_args": {"high": 13}}, "law_args is"),
        ({"source": 2.0}, "source is 1.0 there, 2.0 here"),
        ({"split": (0.5, 0.25, 0.25)}, "split is"),
    ],
)
def test_another_recipe_is_refused(reference, tmp_path, change, message):
    path = Path(shutil.copy(reference, tmp_path))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=message):
        generate(path, **{"samples": 20, "resolution": 33, "seed": 5} | change)
    assert path.read_bytes() == before


def test_something_else_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "text").write_text("mine")
    (tmp_path / "d.hdf5.shards").mkdir()
    (tmp_path / "d.hdf5.shards" / "mine").write_text("mine")
    for name in ("text", "d.hdf5", "."):
        with pytest.raises(FileExistsError, match="left as it is"):
            generate(tmp_path / name, 2, 9)
    generate(tmp_path / "e.hdf5", 2, 9)
    (tmp_path / "e.hdf5.shards").mkdir()
    (tmp_path / "e.hdf5.shards" / "mine").write_text("mine")
    generate(tmp_path / "e.hdf5", 2, 9)
    texts = [tmp_path / "text", tmp_path / "d.hdf5.shards" / "mine", tmp_path / "e.hdf5.shards" / "mine"]
    assert [path.read_text() for path in texts] == ["mine"] * 3


def test_foreseeable_trouble_with_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(OSError, match="GB are needed"):
        generate(tmp_path / "d.hdf5", 100, 33)
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="not writable"):
        generate(tmp_path / "d.hdf5", 100, 33)
    assert list(tmp_path.iterdir()) == []


def test_two_generations_do_not_share_a_folder(tmp_path):
    def second(done, total):
        if 0 < done < total:
            with pytest.raises(FileExistsError, match="in use by another process"):
                generate(tmp_path / "d.hdf5", 3, 9, shard_size=1)

    generate(tmp_path / "d.hdf5", 3, 9, shard_size=1, progress=second)


def test_leftovers_of_a_kill_are_cleaned_and_never_taken_for_shards(reference, tmp_path):
    folder = tmp_path / "d.hdf5.shards"
    folder.mkdir()
    for name in (".recipe.host-1.partial.json", ".recipe.json.1.tmp"):
        (folder / name).write_text("half")
    partial = folder / ".000000007.host-1.partial.hdf5"

    def second_writer(done, total):
        if done == 14:
            partial.write_text("half")

    generate(tmp_path / "d.hdf5", 20, 33, seed=5, shard_size=7, progress=second_writer)
    assert (tmp_path / "d.hdf5").read_bytes() == reference.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["d.hdf5"]
    folder.mkdir()
    partial.write_text("half")
    assert complete_shards(folder) == []


def test_a_law_of_ones_own_is_executed_once(tmp_path):
    law, log = tmp_path / "law.py", tmp_path / "log"
    law.write_text(
        f"import numpy as np\nwith open({str(log)!r}, 'a') as log:\n    log.write('executed\\n')\n"
        'def ones(shape, rng, k=1.0):\n    """All k."""\n    return np.full(shape, k)\n'
    )
    info = generate(tmp_path / "d.hdf5", 3, 9, law=f"{law}:ones", law_args={"k": 2.0}, shard_size=1)
    assert info.attributes["law_description"] == "All k."
    recipe = Recipe(3, Grid((9, 9)), build_problem("darcy", law=f"{law}:ones"))
    assert json.loads(recipe.header().attributes["law_parameters"]) == {"k": 1.0}
    assert log.read_text() == "executed\n"


def test_the_sample_at_fault_is_named(tmp_path):
    law = tmp_path / "law.py"
    law.write_text(
        "import numpy as np\ndef nan(shape, rng):\n    a = np.ones(shape)\n    a[2, 2] = np.nan\n    return a\n"
    )
    with pytest.raises(ValueError, match=r"sample 0: coefficient a must be finite"):
        generate(tmp_path / "d.hdf5", 3, 9, law=f"{law}:nan")
    law.write_text(law.read_text().replace("np.nan", "2.0"))
    generate(tmp_path / "d.hdf5", 3, 9, law=f"{law}:nan")  # mended, it is begun anew: no shard was complete
    with pytest.raises(NotConverged, match=r"sample 0: cg reached a relative residual"):
        generate(tmp_path / "e.hdf5", 3, 33, law="inclusions", law_args={"contrast": 1e12}, method="cg")


def test_coefficients_from_a_file(tmp_path):
    values = np.random.default_rng(0).uniform(1, 2, (5, 9, 9))
    np.save(tmp_path / "a.npy", values)
    generate(tmp_path / "d.hdf5", 4, 9, law=str(tmp_path / "a.npy"))
    with h5py.File(tmp_path / "d.hdf5") as file:
        np.testing.assert_array_equal(file["nu"][:], values[:4].astype(np.float32))
    with pytest.raises(ValueError, match="holds 5 coefficients"):
        generate(tmp_path / "e.hdf5", 6, 9, law=str(tmp_path / "a.npy"))
    with pytest.raises(ValueError, match="on 9×9 vertices, resolution asks for 17×17"):
        generate(tmp_path / "e.hdf5", 5, 17, law=str(tmp_path / "a.npy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "d.hdf5"]


@pytest.mark.parametrize("name", LAWS)
def test_every_law_and_its_parameters_are_in_the_file(name, tmp_path):
    info = generate(tmp_path / "d.hdf5", 2, 33, law=name)
    parameters = json.loads(info.attributes["law_parameters"])
    assert parameters == vars(LAWS[name]())
    assert all(parameter in info.attributes["law_description"] for parameter in parameters)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"samples": 0}, "samples"),
        ({"resolution": 2}, "resolution"),
        ({"seed": -1}, "seed"),
        ({"rtol": 2.0}, "rtol"),
        ({"method": "magic"}, "method"),
        ({"mean": "quadratic"}, "mean"),
        ({"split": (0.5, 0.5, 0.5)}, "split"),
        ({"workers": 0}, "workers"),
        ({"shard_size": 0}, "shard_size"),
        ({"source": "nowhere.npy"}, "source"),
        ({"source": np.ones((3, 4))}, "source"),
        ({"source": 0.0}, "source f is zero"),
        ({"resolution": 1_000_000}, "a solve on 1000000×1000000 points takes 80000 GB"),
        (
            {"label_refinement": 100_000},
            "resolution 9×9, label_refinement 100000: a solve on 800001×800001 points takes",
        ),
        ({"source": np.pad(np.zeros((7, 7)), 1, constant_values=1.0)}, "source f is zero"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, bad, message):
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        generate(tmp_path / "d.hdf5", **{"samples": 3, "resolution": 9} | bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [(1e42, "infinite values in float32"), (1e-41, "too small for float32: the residual"), (1e-60, "zero everywhere")],
)
def test_what_float32_makes_of_a_solution_is_checked(tmp_path, source, message):
    with pytest.raises(ValueError, match=f"sample 0: the solution .* {message}"):
        generate(tmp_path / "d.hdf5", 2, 9, source=source)
    assert not (tmp_path / "d.hdf5").exists()
    with pytest.raises(ValueError, match="sample 0: the solution"):
        generate(tmp_path / "d.hdf5", 2, 9, source=source, label_refinement=2)


def test_splits_partition_the_samples():
    for samples in range(3, 60):
        parts = splits(samples, (0.8, 0.1, 0.1))
        np.testing.assert_array_equal(
            np.concatenate([parts[name] for name in ("train", "val", "test")]), np.arange(samples)
        )
    assert list(splits(10, (0, 0, 1))) == ["test"]
    assert splits(2, (0.8, 0.1, 0.1)) == {}


def test_samples_are_independent_of_each_other():
    problem = build_problem("darcy", law="lognormal")
    a = np.stack([draw(problem, Grid((3, 3)), 0, i)[0, 1, 1] for i in range(600)])
    logs = np.log(a)
    assert abs(np.corrcoef(logs[:-1], logs[1:])[0, 1]) < 4 / np.sqrt(600)


COMMAND = "from data_gen import generate; import sys; generate(sys.argv[1], 80, 65, seed=3, workers=2, shard_size=2)"


@pytest.fixture
def script(tmp_path):
    """A program that generates 80 samples with two workers."""
    path = tmp_path / "script.py"
    path.write_text(f"if __name__ == '__main__':\n    {COMMAND}\n")
    return path


def test_killed_at_random_moments_and_resumed(script, tmp_path):
    undisturbed, out = tmp_path / "undisturbed.hdf5", tmp_path / "killed.hdf5"
    generate(undisturbed, 80, 65, seed=3)
    rng, shards, kills = random.Random(0), tmp_path / "killed.hdf5.shards", 0
    while True:
        process = subprocess.Popen([sys.executable, script, out], start_new_session=True)
        begun = len(complete_shards(shards))
        goal, pause = begun + rng.randint(1, 6), rng.uniform(0, 0.02)
        while process.poll() is None and len(complete_shards(shards)) < goal:
            time.sleep(0.002)
        time.sleep(pause)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGSTOP)  # so that it removes none while we look
        kept = {path: path.stat().st_mtime_ns for path in complete_shards(shards)}
        if kills % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        kills += 1
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path.exists())
    assert process.returncode == 0
    assert kills >= 3
    assert out.read_bytes() == undisturbed.read_bytes()
    assert not shards.exists()


def test_killed_while_merging(tmp_path, monkeypatch):
    path = tmp_path / "d.hdf5"
    with monkeypatch.context() as patch:
        patch.setattr(import_module("data_gen.generate"), "_remove", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            generate(path, 6, 9, shard_size=2)
    (tmp_path / "d.hdf5.shards" / "000000002.hdf5").unlink()
    before = path.read_bytes()
    generate(path, 6, 9)
    assert path.read_bytes() == before
    assert not (tmp_path / "d.hdf5.shards").exists()


def test_workers_take_the_visible_gpus_in_turn(monkeypatch):
    """One device for all workers left the other GPUs of a machine idle."""
    module = import_module("data_gen.generate")
    monkeypatch.setattr(tasks, "end_with_parent", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    visible = module.gpus("cuda")
    assert (visible, module.gpus("cuda:1"), module.gpus("cpu")) == (["2", "5", "7"], [], [])
    turn, taken = multiprocessing.Value("i", 0), []
    for _ in range(4):
        tasks._start(turn, visible)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["2", "5", "7", "2"]


def test_a_shard_on_a_gpu_fills_a_batch_and_counts_the_times():
    """A thousand trajectories of twenty times were one shard, and all of the others' work was one worker's."""
    shard_size = import_module("data_gen.generate")._shard_size
    flow = build_problem("navier-stokes", times=tuple(range(1, 21)))
    fine = Recipe(1100, Grid((128, 128), "periodic"), flow, 0, None, (1, 0, 0), "cuda", 2)
    assert shard_size(fine, 16) == samples_at_once(fine.solved_on) == 256
    darcy = Recipe(1100, Grid((421, 421)), build_problem("darcy"), 0, None, (1, 0, 0), "cuda", 4)
    assert shard_size(darcy, 16) == samples_at_once(darcy.grid) > samples_at_once(darcy.solved_on)


def test_a_damaged_shard_is_not_merged(tmp_path, monkeypatch):
    path = tmp_path / "d.hdf5"
    shard = tmp_path / "d.hdf5.shards" / "000000004.hdf5"

    def flip(done, total):
        if done == total:
            data = bytearray(shard.read_bytes())
            with h5py.File(shard) as file:
                data[file["tensor"].id.get_offset() + 100] ^= 1
            shard.write_bytes(data)

    with pytest.raises(ValueError, match=r"000000004\.hdf5 is damaged"):
        generate(path, 6, 9, shard_size=2, progress=flip)
    assert not path.exists()


def test_dask_gives_the_same_content(reference, tmp_path):
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        generate(tmp_path / "d.hdf5", 20, 33, seed=5, executor=client.get_executor(), shard_size=4, merge=False)
    assert content(tmp_path / "d.hdf5")[0].items() >= content(reference)[0].items()


MEMORY = """
import re, sys
from pathlib import Path
from data_gen import generate
generate(sys.argv[1], int(sys.argv[2]), 33)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    few, many = (
        int(subprocess.check_output([sys.executable, "-c", MEMORY, tmp_path / f"{n}.hdf5", str(n)]))
        for n in (300, 4000)
    )
    assert many < 1.25 * few
