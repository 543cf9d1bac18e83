"""The scaling study: what it measures, and that it goes on where it stopped."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from pdebench_mano.benchmark.costs import Settings, measure, peak_memory
from pdebench_mano.benchmark.scaling import read_table, slopes
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


KILLED = """
import os, signal
from torch import nn

class Killed(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.map = nn.Linear(1, 1)

    def forward(self, a):
        if a.shape[-1] == 24:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.map(a[..., None])[..., 0]
"""


def test_what_takes_its_process_with_it_has_a_row_and_the_others_are_measured(tmp_path):
    """As for want of memory; a kernel's illegal access, which takes the GPU from its process, must not take more."""
    (tmp_path / "own.py").write_text(KILLED)
    name = f"{tmp_path / 'own.py'}:Killed"
    rows = list(scaling_rows([name], [16, 24, 32], Settings(repeats=1), tmp_path / "out"))
    assert [row.note for row in rows] == ["", "its process was killed, as for want of memory", ""]
    assert [row.parameters for row in rows] == [2, 2, 2]
    assert list(read_table(tmp_path / "out" / "scaling.csv").note) == [row.note for row in rows]
