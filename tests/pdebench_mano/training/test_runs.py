"""Runs as a user meets them: through the command line, killed, resumed, refused."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch

from data_gen import generate
from pdebench_mano import load
from pdebench_mano.fields.data import DarcyDataset, View
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.training import runs
from pdebench_mano.training.folder import read_summary
from pdebench_mano.training.runs import RunConfig, train, training_data

OPERATOR = '''
import os
import signal
from pathlib import Path

from torch import nn


class Mortal(nn.Module):
    """Kills its own process in the n-th forward pass, if the file FUSE is there to be burned."""

    def __init__(self, in_channels, out_channels, width=4, n=5):
        super().__init__()
        lift, projection = nn.Conv2d(in_channels, width, 1), nn.Conv2d(width, out_channels, 1)
        self.net = nn.Sequential(lift, nn.GELU(), nn.Dropout(0.2), projection)
        self.left = n

    def forward(self, a):
        self.left -= 1
        fuse = Path(os.environ.get("FUSE", "none"))
        if self.left == 0 and fuse.exists():
            fuse.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(a)
'''


OWN = """
from pathlib import Path

from torch import nn

from pdebench_mano import Backprop

Path(__file__).with_name("sprung").touch()


class Operator(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)


class Regime(Backprop):
    pass
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 20, 17, seed=1)
    return path


def command(*words, **environment):
    code = "import sys; from pdebench_mano.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def history(run):
    """The rows of the file that can be watched while a run is trained."""
    path = run / "history.csv"
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def weights(run):
    return torch.load(run / "best.pt", weights_only=True)["operator"]


@pytest.mark.parametrize("n", [3, 7])
def test_a_killed_training_resumes_to_the_same_bits(tmp_path, dataset, n):
    (tmp_path / "mortal.py").write_text(OPERATOR)
    fuse = tmp_path / "fuse"

    def words(out):
        operator = f"{tmp_path / 'mortal.py'}:Mortal"
        options = ["--epochs", 3, "--batch-size", 4, "--resolution", 9, "--operator-args", "width=6", f"n={n}"]
        return ["train", "--operator", operator, "--data", dataset, "--out", out, *options]

    assert command(*words(tmp_path / "undisturbed")).returncode == 0
    fuse.touch()
    assert command(*words(tmp_path / "killed"), FUSE=str(fuse)).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "summary.json").exists()
    ended = [1] if n == 7 else []  # of four steps and a validation each
    assert [row["epoch"] for row in history(tmp_path / "killed")] == ended
    resumed = command(*words(tmp_path / "killed"))
    assert resumed.returncode == 0, resumed.stderr
    told = re.findall(r"^epoch (\d) of 3: loss \S+, validation error \S+, \d+ s of training$", resumed.stderr, re.M)
    assert [int(epoch) for epoch in told] == [epoch for epoch in (1, 2, 3) if epoch not in ended]
    assert [row["epoch"] for row in history(tmp_path / "killed")] == [1, 2, 3]
    expected, found = weights(tmp_path / "undisturbed"), weights(tmp_path / "killed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert "another version" not in resumed.stderr
    again = command(*words(tmp_path / "killed"))
    assert again.returncode == 0
    assert "complete already" in again.stderr
    assert command(*words(tmp_path / "killed"), RANK="1").stderr == "", "of several processes one tells"


def test_a_loaded_run_predicts_what_was_validated(tmp_path, dataset):
    config = RunConfig(
        operator="fno", operator_args={"width": 8, "modes": 4, "depth": 2}, data=str(dataset), epochs=2, batch_size=8
    )
    history = train(config, tmp_path / "run", device="cpu")
    operator = load(tmp_path / "run", device="cpu")
    data = DarcyDataset(dataset, "val")
    a, u = data.batch(range(len(data)))
    assert relative_l2(operator.predict(a), u).mean().item() == pytest.approx(history.best_validation, rel=1e-5)
    assert operator.replays is None
    assert load(tmp_path / "run", device="cpu", replay=True).replays is not None


def test_random_numbers_of_gpus_are_left_alone_and_those_of_the_cpu_as_they_were(tmp_path, dataset, monkeypatch):
    """To fork the generators of all GPUs of a machine started each of them, and `torch.manual_seed` seeds them all."""
    config = RunConfig(operator="unet", operator_args={"width": 4}, data=str(dataset), resolution=9, epochs=1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("GPUs were counted"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("GPUs were seeded"))
    before = torch.get_rng_state()
    train(config, tmp_path / "run", device="cpu")
    load(tmp_path / "run", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the memory of a GPU is counted")
def test_memory_of_a_training_counts_nothing_that_was_there_before(tmp_path, dataset):
    config = RunConfig(operator="unet", operator_args={"width": 4}, data=str(dataset), resolution=9, epochs=1)
    train(config, tmp_path / "first")
    held = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    train(config, tmp_path / "second")
    first, second = (read_summary(tmp_path / name)["memory"] for name in ("first", "second"))
    assert abs(second - first) < len(held) / 16


def test_a_finished_run_is_known_before_its_data_are_read_and_another_is_refused(tmp_path, dataset, monkeypatch):
    config = RunConfig(operator="unet", operator_args={"width": 4}, data=str(dataset), resolution=9, epochs=1)
    history = train(config, tmp_path / "run", device="cpu")
    monkeypatch.setattr(View, "_read", lambda *_: pytest.fail("data were read"))
    assert train(config, tmp_path / "run", device="cpu") == history
    with pytest.raises(ValueError, match="holds a run of another configuration: lr is"):
        train(config.model_copy(update={"lr": 0.5}), tmp_path / "run", device="cpu")


def test_validation_samples_are_never_trained_on(tmp_path):
    path = tmp_path / "plain.hdf5"
    generate(path, 20, 9, split=(1.0, 0.0, 0.0))
    for seed in (0, 1):
        (first, second), held = training_data(RunConfig(operator="fno", data=str(path), resolution=[9, 5], seed=seed))
        assert not set(held.samples) & set(first.samples)
        assert len(held) == 2
        assert len(first) == 18
        assert (first.samples == second.samples).all()
        assert held.samples.tolist() == training_data(RunConfig(operator="fno", data=str(path)))[1].samples.tolist()


def test_another_configuration_does_not_touch_a_run(tmp_path, dataset):
    config = RunConfig(
        operator="fno", operator_args={"width": 4, "modes": 2}, data=str(dataset), resolution=9, epochs=1
    )
    train(config, tmp_path / "run", device="cpu")
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=r"another configuration: lr is 0\.001 there, 0\.01 here"):
        train(config.model_copy(update={"lr": 0.01}), tmp_path / "run", device="cpu")
    assert before == {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}


def test_a_refused_training_leaves_its_folder_to_the_next(tmp_path, dataset):
    config = RunConfig(
        operator="orthogonal-mlp",
        operator_args={"resolution": 17},
        regime="transported-foton",
        data=str(dataset),
        resolution=9,
        epochs=1,
    )
    with pytest.raises(ValueError, match="17×17, got 9×9"):
        train(config, tmp_path / "run", device="cpu")
    right = config.model_copy(update={"operator_args": {"resolution": 9, "width": 8}})
    assert train(right, tmp_path / "run", device="cpu").best_epoch == 1


BROKEN = """
from torch import nn


class Operator(nn.Conv2d):
    def __init__(self, in_channels, out_channels, size=3):
        super().__init__(in_channels, out_channels, size)

    def forward(self, a):
        return RESULT
"""


@pytest.mark.parametrize("result", ["super().forward(a)", "{}['u']", "(super().forward(a), 0)"])
def test_an_operator_that_breaks_is_sent_to_check_and_leaves_its_folder_to_the_mended_one(tmp_path, dataset, result):
    own = tmp_path / "own.py"
    own.write_text(BROKEN.replace("RESULT", result))
    config = RunConfig(operator=f"{own}:Operator", operator_args={"size": 5}, data=str(dataset), epochs=1)
    told = f"(?s)operator '{own}:Operator': .*pdebench-mano check {own}:Operator --operator-args size=5"
    with pytest.raises(ValueError, match=told):
        train(config, tmp_path / "run", device="cpu")
    own.write_text(BROKEN.replace("RESULT", "nn.functional.pad(super().forward(a), (2, 2, 2, 2))"))
    assert train(config, tmp_path / "run", device="cpu").best_epoch == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_solution_that_is_zero_is_named_before_anything_is_trained(tmp_path, dataset, split):
    """It made a complete run without weights, or the learning rate was blamed."""
    shutil.copy(dataset, tmp_path / "zero.hdf5")
    with h5py.File(tmp_path / "zero.hdf5", "r+") as file:
        sample = int(file["splits"][split][0])
        file["tensor"][sample] = 0
    config = RunConfig(operator="fno", data=str(tmp_path / "zero.hdf5"), epochs=1)
    with pytest.raises(ValueError, match=f"zero at all 17×17 points in sample {sample}: no error"):
        train(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    coarse = config.model_copy(update={"data": str(dataset), "resolution": 2})
    with pytest.raises(ValueError, match="zero at all 2×2 points"):
        train(coarse, tmp_path / "run", device="cpu")


@pytest.mark.parametrize("what", ["operator", "regime"])
def test_code_that_only_a_run_names_is_not_run_unless_trusted(tmp_path, dataset, monkeypatch, what):
    (tmp_path / "own.py").write_text(OWN)
    named = {"operator": "unet", "operator_args": {"width": 4}} | {what: f"{tmp_path / 'own.py'}:{what.title()}"}
    named["operator_args"] = {} if what == "operator" else named["operator_args"]
    train(RunConfig(data=str(dataset), epochs=1, **named), tmp_path / "run", device="cpu")
    words = [tmp_path / "run", "--data", dataset, "--resolutions", 17]
    assert load(tmp_path / "run", device="cpu"), "this process was told the name"
    (tmp_path / "sprung").unlink()
    for refused in (
        command("evaluate", *words),
        command("evaluate", *words, "--split", "val"),
        command("report", tmp_path / "run", "--out", tmp_path / "report"),
        command("time", *words, "--out", tmp_path / "times"),
    ):
        assert refused.returncode == 2
        assert f"names code of its own, {what} " in refused.stderr
        assert "--trust" in refused.stderr
    assert not (tmp_path / "sprung").exists()
    monkeypatch.setattr(runs, "TRUSTED", set())
    with pytest.raises(ValueError, match="trust=True"):
        load(tmp_path / "run", device="cpu")
    assert load(tmp_path / "run", device="cpu", trust=True)
    trusted = command("evaluate", *words, "--trust")
    assert trusted.returncode == 0, trusted.stderr


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path, dataset):
    with pytest.raises(ValueError, match="device must be cpu, or cuda where there is one, got 'tpu'"):
        train(RunConfig(operator="fno", data=str(dataset)), tmp_path / "run", device="tpu")
    assert not (tmp_path / "run").exists()


def test_a_file_with_splits_but_none_to_train_on_is_refused(tmp_path):
    generate(tmp_path / "held.hdf5", 4, 9, split=(0.0, 0.5, 0.5))
    with pytest.raises(ValueError, match="no split 'train'; its splits are: test, val"):
        train(RunConfig(operator="fno", data=str(tmp_path / "held.hdf5")), tmp_path / "run")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        load(Path(tmp_path))
