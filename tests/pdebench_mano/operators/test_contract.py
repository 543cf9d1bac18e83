"""Every operator keeps the contract, and the contract notices operators that do not."""

import inspect
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from data_gen.lookup import find
from pdebench_mano.benchmark.catalogue import flops_per_point, parameter_count
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.operators.contract import contract
from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import OPERATORS, build_operator

SMALLER = {"orthogonal-conv": {"width": 8, "depth": 2}}


def broken(operator, trained=None):
    return {check.name: check.detail for check in contract(operator, trained=trained) if not check.holds}


@pytest.mark.parametrize("name", OPERATORS)
def test_registered_operators_keep_the_contract(name):
    torch.manual_seed(0)
    assert broken(build_operator(name, 1, 1, **SMALLER.get(name, {}))) == {}


@pytest.mark.parametrize("name", ["fno", "unet", "transolver", "ho-fno", "lrsa"])
def test_second_order_under_refinement(name):
    """The trapezoidal rule of the Fourier integrals and of full weighting, on vertices."""
    torch.manual_seed(0)
    detail = list(contract(build_operator(name, 1, 1)))[-1].detail
    rates = [float(word) for word in detail.rpartition("rates ")[2].split(", ")]
    assert rates == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize(("size", "millions"), [("small", 0.25), ("base", 2.4)])
def test_presets_of_one_size_hold_equally_many_parameters(size, millions):
    counts = {name: parameter_count(build_operator(name, 1, 1, preset=size)) for name in PRESETS}
    assert all(count == pytest.approx(millions * 1e6, rel=1 / 8) for count in counts.values()), counts


def test_arguments_override_a_preset_and_an_unknown_one_is_named():
    assert len(build_operator("unet", 1, 1, preset="small", levels=2).down) == 1
    with pytest.raises(ValueError, match="'unet' has no preset 'huge'; it has small, base, small-time, base-time"):
        build_operator("unet", 1, 1, preset="huge")


class Cropping(nn.Conv2d):
    """Loses its border."""

    def __init__(self):
        super().__init__(1, 1, 3)


class Growing(nn.Module):
    """Learns a table of positions for each grid it meets."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ParameterDict()

    def forward(self, a):
        key = f"{a.shape[-1]}"
        if key not in self.tables:
            self.tables[key] = nn.Parameter(torch.ones(a.shape[-2:]))
        return a * self.tables[key]


class AcrossTheBatch(nn.Module):
    """Each sample sees the one before it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, a):
        return self.scale * a.cumsum(0)


class MeanOfTheBatch(AcrossTheBatch):
    """Each sample sees all of them, in no order."""

    def forward(self, a):
        return self.scale * (a - a.mean(0))


class TwoChannels(AcrossTheBatch):
    """Gives more than it was asked for."""

    def forward(self, a):
        return self.scale * torch.cat([a, a], dim=1)


class Idle(AcrossTheBatch):
    """Has a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(()))

    def forward(self, a):
        return self.scale * a


class Dead(Idle):
    """Has a parameter that changes nothing."""

    def forward(self, a):
        return self.scale * a + 0 * self.unused


class FunctionInState(Idle):
    """Keeps more than tensors in its state."""

    def forward(self, a):
        return self.scale * self.unused * a

    def get_extra_state(self):
        return print

    def set_extra_state(self, state):
        pass


class DividedTwice(AcrossTheBatch):
    """A difference of neighbours, divided by the square of their distance."""

    def forward(self, a):
        return self.scale * (a.roll(1, -1) - a) * a.shape[-1] ** 2


@pytest.mark.parametrize(
    ("operator", "clause"),
    [
        (Cropping(), "odd grids"),
        (Growing(), "same parameters at three resolutions"),
        (TwoChannels(), "odd grids"),
        (AcrossTheBatch(), "samples of a batch alone"),
        (MeanOfTheBatch(), "samples of a batch alone"),
        (Idle(), "gradient of every parameter"),
        (Dead(), "gradient of every parameter"),
        (FunctionInState(), "state-dict round trip"),
        (DividedTwice(), "refinement at initialisation"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_is_wrong_is_found(operator, clause):
    assert clause in broken(operator)


def test_a_trained_operator_is_studied_on_its_own_grid():
    class OnLeftGridsOnly(AcrossTheBatch):
        def forward(self, a):
            return self.scale * a if a.shape[-1] % 2 == 0 else self.scale * a * a.shape[-1]

    wrap = NormalizedOperator(OnLeftGridsOnly(), Normalizer.identity(1), Normalizer.identity(1), "left")
    found = broken(wrap.operator, wrap)
    assert "refinement at initialisation" in found
    assert "refinement after training" not in found


def test_cost_of_one_linear_layer():
    class Pointwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(5, 1, dtype=torch.complex64))

        def forward(self, a):
            return (a.flatten().to(torch.complex64)[:, None] @ self.matrix.T).real[:, :1].reshape(a.shape)

    operator = Pointwise()
    assert parameter_count(operator) == 10
    assert flops_per_point(operator) == 8 * 5


def command(*words):
    return subprocess.run(
        [sys.executable, "-c", "from pdebench_mano.cli import main; main()", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_command_takes_a_file_and_says_what_fails(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Shrinks(nn.Conv2d):\n"
        "    def __init__(self, in_channels, out_channels):\n"
        "        super().__init__(in_channels, out_channels, 3)\n"
    )
    result = command("check", f"{path}:Shrinks")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("FAILS  odd grids: (2, 1, 17, 17) became (2, 1, 15, 15)")
    assert sum(line.startswith("holds") for line in lines) >= 2


@pytest.mark.parametrize("name", OPERATORS)
def test_sizes_that_build_nothing_are_refused(name):
    sizes = {"width", "depth", "heads", "window", "levels", "modes", "patch", "spacing", "kernel", "resolution"}
    for size in sizes & inspect.signature(find(name, OPERATORS, "operator")).parameters.keys():
        with pytest.raises(ValueError, match=rf"operator '{name}': {size}.* must be .* got 0"):
            build_operator(name, 1, 1, **{size: 0.0 if size == "spacing" else 0})


def test_what_a_file_of_ones_own_does_wrong_is_said_in_one_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Fails:\n    def __init__(self, **_):\n        raise RuntimeError('no weights')\n")
    with pytest.raises(ValueError, match="RuntimeError: no weights"):
        build_operator(f"{path}:Fails", 1, 1)
    path.write_text("raise SystemExit(0)\n")
    with pytest.raises(ValueError, match="SystemExit: 0"):
        build_operator(f"{path}:Fails", 1, 1)


def test_operators_command_lists_every_name():
    result = command("operators", "--json")
    assert result.returncode == 0, result.stderr
    rows = {row["name"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert rows.keys() == OPERATORS.keys()
    assert {"mano", "fno", "vit", "swin", "unet", "uno", "tfno"} <= rows.keys()
    assert all("backprop" in row["regimes"] and row["parameters"] > 0 and row["paper"] for row in rows.values())
