"""What may be said to an operator: all of it, with its defaults, and what it means."""

import inspect
import sys

import pytest

from data_gen.lookup import find
from pdebench_mano.benchmark.catalogue import explained
from pdebench_mano.cli import main
from pdebench_mano.operators.names import PAPERS
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.training.regimes import REGIMES

FACTORIES = {**{name: find(name, OPERATORS, "operator") for name in OPERATORS}, **REGIMES}

OWN = """
from torch import nn

class Own(nn.Conv2d):
    def __init__(self, in_channels, out_channels, size, *, scale=0.5):
        \"\"\"A convolution.

        Parameters
        ----------
        in_channels, out_channels : int
        size : int
            Points a side,
            odd.

        Raises
        ------
        ValueError
            Never.
        \"\"\"
        super().__init__(in_channels, out_channels, size, padding="same")

    __doc__ = __init__.__doc__
"""


@pytest.mark.parametrize("name", FACTORIES)
def test_every_argument_of_what_is_registered_is_explained_once(name):
    parameters = inspect.signature(FACTORIES[name]).parameters.values()
    names = [each.name for each in parameters if each.name not in ("in_channels", "out_channels")]
    found = explained(FACTORIES[name])
    assert sorted(key.lstrip("*") for each in found for key in each.defaults) == sorted(names)
    assert all(each.what for each in found)


def test_papers_are_those_that_the_operators_name():
    named = {name: find(name, OPERATORS, "operator").paper for name in OPERATORS}
    assert {name: paper for name, paper in named.items() if paper} == PAPERS


def command(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pdebench-mano", *words.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_one_operator_is_listed_with_its_arguments(monkeypatch, capsys):
    shown = command("operators unet", monkeypatch, capsys)
    assert "levels=3 Number of grids in the pyramid. spacing=0.0625 Spacing of the finest level" in shown
    assert "Fourier neural operator" not in shown


def test_the_help_of_train_explains_the_arguments_of_what_is_named(monkeypatch, capsys, tmp_path):
    """They were nowhere to be found but in the source."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    shown = command("train --operator own.py:Own --regime=foton-latent --help", monkeypatch, capsys)
    own, regime = shown.partition("--operator-args of own.py:Own: ")[2].split(" --regime-args of foton-latent: ")
    assert own == "size Points a side, odd. scale=0.5"
    assert "eta=" in regime
