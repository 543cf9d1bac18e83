"""A case is known by its content: whatever changes the outcome changes its key, and where the data lie does not."""

from pathlib import Path

import pytest

from data_gen.lookup import find
from pdebench_mano.benchmark import identity as module
from pdebench_mano.benchmark.cases import Case
from pdebench_mano.benchmark.identity import PUBLISHED_DEFAULTS, defaults, identity
from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.regimes import REGIMES

OTHER = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v / 2 + 0.1, str: lambda v: f"{v}, another"}
CHOICES = {
    "optimizer": "muon",
    "schedule": "constant",
    "loss": "cross_entropy",
    "norm": "integral",
    "precision": "bfloat16",
    "seconds": 3.0,
    "clip_norm": 1.0,
    "pairs": "step",
    "resolution": 9,
    "regime": "foton",
    "operator_args": {"width": 5},
    "regime_args": {"eta": 0.5},
}


def config(**changed):
    return RunConfig(**{"operator": "fno", "data": "darcy.hdf5"} | changed)


def key(configured):
    return Case("fno", configured, (), "data", (9,), (9,)).key


@pytest.mark.parametrize(
    "name", [name for name in RunConfig.model_fields if name not in ("data", "checkpoint_seconds")]
)
def test_each_option_changes_the_key(name):
    value = getattr(config(), name)
    other = CHOICES.get(name, "vit" if name == "operator" else OTHER.get(type(value), lambda v: v)(value))
    assert key(config(**{name: other})) != key(config())
    assert key(config(data="elsewhere.hdf5")) == key(config())


@pytest.mark.parametrize("name", [name for name in PUBLISHED_DEFAULTS["training"] if not name.endswith("_args")])
def test_another_default_of_an_option_changes_the_key(name, monkeypatch):
    """The key of a configuration that says nothing is that of the published default, and of no other."""
    value = PUBLISHED_DEFAULTS["training"][name]
    before = key(config())
    other = CHOICES.get(name, OTHER.get(type(value), lambda v: v)(value))
    monkeypatch.setitem(PUBLISHED_DEFAULTS["training"], name, other)
    assert key(config()) != before


ARGUMENTS = [(name, argument) for name in OPERATORS for argument in defaults(find(name, OPERATORS, "operator"))]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_another_default_of_an_operator_changes_the_key(name, argument, monkeypatch):
    before = key(config(operator=name))
    assert identity(config(operator=name), "data") == {"operator": name, "data": "data"}, "as published"
    monkeypatch.setitem(PUBLISHED_DEFAULTS["operators"][name], argument, "another")
    assert key(config(operator=name)) != before


RELIED_ON = [
    (name, each)
    for name in REGIMES
    for each in defaults(REGIMES[name])
    if each not in config(regime=name).regime_args  # what a configuration says in any case
]


@pytest.mark.parametrize(("name", "argument"), RELIED_ON)
def test_another_default_of_a_regime_changes_the_key(name, argument, monkeypatch):
    before = key(config(regime=name))
    monkeypatch.setitem(PUBLISHED_DEFAULTS["regimes"][name], argument, "another")
    assert key(config(regime=name)) != before


VALUES = [(name, preset, value) for name, presets in PRESETS.items() for preset in presets for value in presets[preset]]


@pytest.mark.parametrize(("name", "preset", "value"), VALUES)
def test_another_value_of_a_preset_changes_the_key(name, preset, value, monkeypatch):
    chosen = config(operator=name, operator_args={"preset": preset})
    before = key(chosen)
    monkeypatch.setitem(PRESETS[name][preset], value, "another")
    assert key(chosen) != before
    assert key(config(operator=name)) == key(config(operator=name, operator_args={})), "others keep theirs"


def test_an_edited_file_is_another_operator(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("from torch import nn\n\n\nclass Own(nn.Conv2d):\n    pass\n")
    before = key(config(operator=f"{own}:Own"))
    own.write_text(own.read_text().replace("Conv2d", "Conv3d"))
    assert key(config(operator=f"{own}:Own")) != before


def test_the_defaults_that_are_kept_are_those_of_every_registered_name():
    assert PUBLISHED_DEFAULTS["operators"].keys() >= OPERATORS.keys()
    assert PUBLISHED_DEFAULTS["regimes"].keys() >= REGIMES.keys()
    assert Path(module.__file__).parent.joinpath("published", "defaults.json").exists()


def test_the_keys_of_regimes_are_those_that_they_had_under_earlier_names():
    assert identity(config(regime="foton-latent"), "data") == {"operator": "fno", "regime": "foton", "data": "data"}
    assert identity(config(regime="foton"), "data")["regime_args"] == {"inject": "input"}
    assert key(config(regime="foton")) == key(config(regime="foton", regime_args={"inject": "input"}))
    assert key(config(regime="foton")) != key(config(regime="foton-latent"))
