"""The training loop: exact resume, same batches in any number of processes, choice by validation."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from data_gen import GaussianRandomField, Grid, build_problem, solve
from pdebench_mano.fields.normalized import NormalizedOperator, normalized
from pdebench_mano.fields.symmetries import transform
from pdebench_mano.orthogonal import GridMLP
from pdebench_mano.training import loop
from pdebench_mano.training.fit import fit
from pdebench_mano.training.history import Diverged
from pdebench_mano.training.regimes import Backprop, FotonLatent
from pdebench_mano.training.validation import validate


def pairs(samples=10, n=6, seed=0):
    a = torch.randn(samples, 1, n, n, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(a, 2 * a + 1 + 0.1 * a.mT)


def network(seed=0, dropout=0.5):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 16, 1), nn.GELU(), nn.Dropout(dropout), nn.Conv2d(16, 16, 1), nn.GELU(), nn.Conv2d(16, 1, 1)
    return nn.Sequential(*layers)


OPTIONS = {"epochs": 3, "batch_size": 4, "lr": 1e-2, "seed": 5, "symmetries": True, "ema": 0.9}


class Interrupted(Dataset):
    """Stops the process, as far as the loop can tell, at the n-th batch."""

    def __init__(self, data, stop):
        self.data, self.left = data, stop

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]

    def batch(self, indices):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.data[indices]


@pytest.mark.parametrize(("stop", "optimizer"), [(1, "adamw"), (4, "adamw"), (4, "muon"), (8, "adamw")])
def test_resumed_training_ends_with_the_same_bits(tmp_path, stop, optimizer):
    options = OPTIONS | {"checkpoint_seconds": 0, "optimizer": optimizer}
    undisturbed = network()
    expected = fit(undisturbed, Backprop(), pairs(), validation=pairs(4, seed=1), out=tmp_path, **options)
    for file in tmp_path.iterdir():
        file.unlink()
    interrupted, resumed = network(), network(seed=1)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, Backprop(), Interrupted(pairs(), stop), validation=pairs(4, seed=1), out=tmp_path, **options)
    history = fit(resumed, Backprop(), pairs(), validation=pairs(4, seed=1), out=tmp_path, **options)
    for p, q in zip(undisturbed.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
    assert [row["loss"] for row in history.epochs] == [row["loss"] for row in expected.epochs]


def test_a_run_stopped_in_its_last_validation_still_finishes_that_epoch(tmp_path):
    options = OPTIONS | {"checkpoint_seconds": 0}
    validation = pairs(4, seed=1)
    expected = fit(network(), Backprop(), pairs(), validation=validation, **options)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Backprop(), pairs(), validation=Interrupted(validation, 2), out=tmp_path, **options)
    history = fit(network(seed=1), Backprop(), pairs(), validation=validation, out=tmp_path, **options)
    assert [row["validation"] for row in history.epochs] == [row["validation"] for row in expected.epochs]


def test_the_epoch_with_the_lowest_validation_error_is_kept():
    a, u = pairs(4, seed=1).tensors
    validation = TensorDataset(a, 1 - u)  # learning the training map takes the operator away from this one
    operator = network(dropout=0.0)
    history = fit(
        operator, Backprop(), pairs(), validation=validation, **OPTIONS | {"lr": 0.1, "ema": 0.0, "epochs": 6}
    )
    errors = [row["validation"] for row in history.epochs]
    assert history.best_epoch == 1 + errors.index(min(errors)) < len(errors)
    assert validate(operator, validation, torch.device("cpu")) == pytest.approx(min(errors))


def test_averaged_weights_are_back_on_the_constraint():
    torch.manual_seed(0)
    chain = GridMLP(1, 1, resolution=6, width=8, depth=4)
    fit(chain, FotonLatent(), pairs(), validation=pairs(4, seed=1), **OPTIONS)
    assert chain.orthogonality_residual() < 1e-5


def test_an_affine_map_is_learned_exactly():
    data = pairs(64)
    a, _ = data.tensors
    data = TensorDataset(a, 3 * a - 2)
    operator = normalized(nn.Conv2d(1, 1, 1), data)
    fit(operator, Backprop(), data, epochs=60, batch_size=8, lr=0.05, seed=0, weight_decay=0.0)
    torch.testing.assert_close(operator(a), 3 * a - 2, rtol=1e-3, atol=1e-3)


def test_normalisation_is_fitted_on_what_it_is_given():
    data = pairs(8)
    operator = normalized(nn.Identity(), data)
    assert isinstance(operator, NormalizedOperator)
    torch.testing.assert_close(operator.decoder.mean, data.tensors[1].mean().reshape(1))


def test_darcy_solutions_turn_with_their_coefficients():
    field = GaussianRandomField(alpha=2.0, tau=3.0).sample((17, 17), np.random.default_rng(0))
    a = torch.from_numpy(field).exp()
    u = torch.from_numpy(solve(a.numpy()))
    symmetry = torch.arange(8)
    maps = build_problem("darcy").symmetries(Grid((17, 17)))
    turned_a = transform(a.expand(8, 1, -1, -1), symmetry, maps, "inputs")
    turned_u = transform(u.expand(8, 1, -1, -1), symmetry, maps, "outputs")
    for each, expected in zip(turned_a[:, 0], turned_u[:, 0], strict=True):
        torch.testing.assert_close(torch.from_numpy(solve(each.numpy())), expected)
    different = (turned_a[:, None] - turned_a).abs().amax((2, 3, 4)) > 0
    assert different.sum() == 8 * 7, "the eight symmetries are eight"


def test_a_loss_that_is_not_finite_names_the_learning_rate():
    with pytest.raises(ValueError, match=r"lr=1e\+30 .* epoch"):
        fit(network(), Backprop(), pairs(), epochs=3, batch_size=4, lr=1e30, seed=0)


def test_weights_that_the_last_step_made_useless_are_not_kept():
    """The loss of the only step is that before it."""

    class Spoils(Backprop):
        def retract(self, operator):
            next(operator.parameters()).data.fill_(torch.nan)

    for validation in (pairs(4, seed=1), None):
        with pytest.raises(Diverged, match=r"lr=0\.001 made the weights useless in epoch 1"):
            fit(network(), Spoils(), pairs(4), validation=validation, epochs=1, batch_size=4, seed=0)


def test_a_loss_beyond_float32_before_the_first_step_is_not_the_learning_rates():
    a, u = pairs().tensors
    with pytest.raises(ValueError, match="loss=half_squared_error is inf before the first step") as refused:
        fit(network(), Backprop(), TensorDataset(a, 1e20 * u), epochs=1, loss="half_squared_error")
    assert not isinstance(refused.value, Diverged)


@pytest.mark.parametrize(("option", "value"), [("epochs", 0), ("lr", -1.0), ("loss", "l3"), ("momentum", 0.9)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        fit(network(), Backprop(), pairs(), **OPTIONS | {option: value})


def test_training_time_can_be_the_budget(monkeypatch):
    ticks = count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: 0.01 * next(ticks)))
    history = fit(network(), Backprop(), pairs(), batch_size=4, seconds=0.5, lr=1e-3, seed=0)
    assert history.seconds >= 0.5
    assert history.epochs[-1]["lr"] < 0.5 * history.epochs[0]["lr"], "the schedule follows the time"


def test_alignment_of_backpropagation_with_itself_is_perfect():
    plain, watched = network(), network()
    history = fit(watched, Backprop(), pairs(), alignment=True, **OPTIONS)
    values = {key: value for row in history.epochs for key, value in row.items() if key.startswith(("cosine", "ratio"))}
    assert set(values) == {f"{kind} {layer}" for kind in ("cosine", "ratio") for layer in "035"}
    assert list(values.values()) == pytest.approx([1.0] * 6)
    fit(plain, Backprop(), pairs(), **OPTIONS)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), watched.parameters(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_steps_are_the_steps_themselves():
    options = OPTIONS | {"epochs": 6, "clip_norm": 1.0}
    recorded, plain = network(dropout=0.0), network(dropout=0.0)
    losses = [
        [row["loss"] for row in fit(operator, Backprop(), pairs(), device="cuda", cuda_graphs=graphs, **options).epochs]
        for operator, graphs in ((recorded, True), (plain, False))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


SCRIPT = """
import os
from contextlib import suppress
from pathlib import Path
import torch.distributed as dist
from test_fit import network, pairs
from pdebench_mano.machine.parallel import processes
from pdebench_mano.training.regimes import Backprop
from pdebench_mano.training.fit import fit

class Stopped(Backprop):
    left = 5
    def gradients(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().gradients(*arguments)

with processes() as rank:
    options = dict(validation=pairs(5, seed=1), epochs=3, batch_size=4, lr=1e-2, seed=5, symmetries=True, ema=0.9,
                   clip_norm=1.0, out=".", checkpoint_seconds=0.0)
    try:
        fit(network(dropout=0.0), Stopped(), pairs(11), **options)
    except KeyboardInterrupt:
        if dist.is_initialized():
            dist.barrier()
    history = fit(network(dropout=0.0), Backprop(), pairs(11), **options)
if rank == 0:
    print(*[f"{row['loss']:.9f} {row['validation']:.9f}" for row in history.epochs])
names = []
for task in Path("/proc/self/task").glob("*"):
    with suppress(OSError):  # of a thread that has ended meanwhile
        names.append((task / "comm").read_text())
assert not [name for name in names if "gloo" in name], "a thread of the group outlives it, and aborts at exit"
"""


def test_two_processes_follow_the_loss_curve_of_one_where_they_were_stopped_too(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}

    def curve(*command):
        folder = tmp_path / str(len(command))
        folder.mkdir()
        result = subprocess.run(
            [sys.executable, *command, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return [float(word) for word in result.stdout.split()]

    one = curve()
    two = curve("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert two == pytest.approx(one, rel=1e-4)
    assert len(one) == 6
