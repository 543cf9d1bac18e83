"""Trackers see every epoch once, and change nothing."""

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_gen import generate
from pdebench_mano import RunConfig, train
from pdebench_mano.training import runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(data, samples=8, resolution=9, seed=3)
    return RunConfig(operator="fno", operator_args={"width": 4, "depth": 1, "modes": 4}, data=str(data), epochs=3)


def interrupt_after_one_epoch(monkeypatch):
    """Let the next training stop, as by Ctrl-C, once its first epoch is saved and told."""
    fit = runs.fit

    def stopping(*args, watch, **options):
        def once(row):
            if watch is not None:
                watch(row)
            raise KeyboardInterrupt

        return fit(*args, watch=once, **options)

    monkeypatch.setattr(runs, "fit", stopping)


def test_tensorboard_holds_the_history_of_an_interrupted_and_resumed_run(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after_one_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "tracked", track="tensorboard", device="cpu")
    train(config, tmp_path / "tracked", track="tensorboard", device="cpu")
    history = pd.read_csv(tmp_path / "tracked" / "history.csv")
    events = EventAccumulator(str(tmp_path / "tracked" / "tensorboard")).Reload()
    for name in ("loss", "validation", "lr"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert seen == [
            (epoch, pytest.approx(value)) for epoch, value in zip(history.epoch, history[name], strict=True)
        ]


def test_a_tracked_run_trains_as_another_does(config, tmp_path):
    weights = []
    for track in (None, "tensorboard"):
        train(config, tmp_path / str(track), track=track, device="cpu")
        weights.append(torch.load(tmp_path / str(track) / "best.pt", weights_only=True)["operator"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_wandb_goes_on_with_the_run_it_began(config, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with monkeypatch.context() as patch:
        interrupt_after_one_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "tracked", track="wandb", device="cpu")
    train(config, tmp_path / "tracked", track="wandb", device="cpu")
    identifier = (tmp_path / "tracked" / "wandb-id").read_text()
    assert list((tmp_path / "tracked" / "wandb").glob(f"offline-run-*-{identifier}"))


def test_an_unknown_tracker_is_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(ValueError, match="track must be one of tensorboard, wandb"):
        train(config, tmp_path / "run", track="mlflow")
    assert not (tmp_path / "run").exists()
