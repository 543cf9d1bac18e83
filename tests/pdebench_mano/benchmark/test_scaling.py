"""The scaling study: what it measures, and that it goes on where it stopped."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from pdebench_mano.benchmark.scaling import Measurement, Settings, measure, peak_memory, read_table, slopes
from pdebench_mano.benchmark.scaling import scaling as scaling_rows
from pdebench_mano.cli.scaling import scaling


def test_slopes_are_the_exponents():
    points = np.array([100, 400, 1600])
    rows = pd.DataFrame({"operator": "a", "points": points, "step_ms": 3 * points**1.5, "inference_ms": 2.0 * points})
    slope = slopes(rows.assign(peak_mb=[1.0, np.nan, np.nan])).loc["a"]
    assert slope.step_ms == pytest.approx(1.5)
    assert slope.inference_ms == pytest.approx(1)
    assert np.isnan(slope.peak_mb)


def test_peak_memory_counts_what_is_alive_at_once():
    x = torch.zeros(1000)

    def step():
        for _ in range(5):
            y = x + 1  # 4000 bytes, freed in the next turn
        return y * y

    assert peak_memory(step, "cpu") == 8000


def test_windows_copied_out_need_more_memory():
    """2 × 2 windows at every point hold each point four times."""
    ours, published = (measure(name, 32, Settings(repeats=1)) for name in ("mano-published", "mano-unfolded"))
    assert ours.parameters == published.parameters
    assert published.peak_mb > 1.5 * ours.peak_mb


def test_command_measures_once_and_goes_on(tmp_path):
    out, run, app = tmp_path / "scaling", CliRunner().invoke, typer.Typer()
    app.command()(scaling)
    command = ["--operators", "mano-published", "--out", str(out), "--repeats", "1", "--device", "cpu", "--json"]
    first = run(app, [*command, "--resolutions", "16,24"], catch_exceptions=False)
    assert [json.loads(line)["resolution"] for line in first.stdout.splitlines()] == [16, 24]
    again = run(app, [*command, "--resolutions", "16,24,32"], catch_exceptions=False)
    assert [json.loads(line)["resolution"] for line in again.stdout.splitlines()] == [32]
    assert list(read_table(out / "scaling.csv").points) == [256, 576, 1024]
    shown = run(app, [*command[:-1], "--resolutions", "16,24,32"], catch_exceptions=False).stderr
    (header,) = [line for line in shown.splitlines() if "operator" in line]
    assert len(header.strip("┃").split("┃")) == 5, "and none for notes where there are none"
    about = json.loads((out / "scaling.json").read_text())
    assert about["environment"]["torch"] == torch.__version__
    assert about["slopes"]["mano-published"]["peak_mb"] == pytest.approx(1, abs=0.2), "memory is linear in the points"
    assert (out / "scaling.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="other settings"):
        run(app, [*command, "--batch-size", "2"], catch_exceptions=False)


def test_what_cannot_run_has_a_row_that_says_why():
    row = measure("mano-unfolded", 1, Settings(repeats=1))
    assert np.isnan(row.step_ms)
    assert "needs at least 2 points" in row.note
    with pytest.raises(ValueError, match="precision must be"):
        Settings(precision="float8")


def test_a_gpu_that_is_lost_ends_the_command_and_the_next_goes_on(tmp_path, monkeypatch):
    """A kernel's illegal access was reported of the next operator, which could not reach the GPU either."""
    module = sys.modules[measure.__module__]
    nan = float("nan")
    broken = Measurement("fno", 16, 256, 1, nan, nan, nan, "CUDA error: an illegal memory access was encountered")
    with monkeypatch.context() as patch:
        patch.setattr(module, "measure", lambda *_: broken)
        patch.setattr(module, "lost", lambda device: True)
        with pytest.raises(RuntimeError, match="fno at 16² left a GPU that computes no more for this process"):
            list(scaling_rows(["fno"], [16, 24], Settings(repeats=1), tmp_path / "out"))
    assert [row.resolution for row in scaling_rows(["fno"], [16, 24], Settings(repeats=1), tmp_path / "out")] == [24]
