"""What a folder gives back is the operator that went in, to the last bit, or it is refused in one line."""

import json

import pytest
import torch

from data_gen import generate
from pdebench_mano import RunConfig, load, train
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.training.sharing import SharedOperator, about_run, sha256, spelled_out

TINY = {
    "mano": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "window": 2, "stride": 1, "spacing": 1 / 4},
    "mano-published": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4},
    "fno": {"width": 4, "modes": 4, "depth": 1},
    "tfno": {"width": 8, "modes": 4, "depth": 1},
    "uno": {"width": 4, "modes": 4},
    "vit": {"width": 8, "depth": 1, "heads": 2, "spacing": 1 / 4},
    "swin": {"width": 6, "depths": [1, 1], "heads": 2, "spacing": 1 / 4},
    "unet": {"width": 4, "levels": 2, "spacing": 1 / 4},
    "orthogonal-mlp": {},
    "orthogonal-fno": {"width": 4, "modes": 2, "depth": 2},
    "orthogonal-conv": {},
    "orthogonal-mano": {"width": 4, "lattice": 2, "depth": 2},
    "transolver": {"width": 8, "depth": 1, "heads": 2, "slices": 4},
    "ho-fno": {"width": 8, "modes": 4, "depth": 1},
    "lrsa": {"width": 8, "depth": 1, "heads": 2, "latents": 4},
}

OWN = """
from torch import nn


class Mine(nn.Conv2d):
    def __init__(self, in_channels, out_channels, width=3):
        super().__init__(in_channels, out_channels, width, padding=width // 2)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 6, 17, split=(0.5, 0.25, 0.25))
    return path


@pytest.fixture
def run(data, tmp_path):
    """A function that trains an operator for an epoch, and gives its run folder."""

    def trained(operator, arguments=None, seed=0):
        folder = tmp_path / f"run{seed}"
        config = RunConfig(operator=operator, operator_args=arguments or {}, data=str(data), epochs=1, seed=seed)
        train(config, folder, device="cpu")
        return folder

    return trained


def shared(run, folder):
    """Save the operator of a run in a folder."""
    trained = load(run, device="cpu")
    SharedOperator.of_run(run, trained, about_run(run, trained, {}), "# card\n").save_pretrained(folder)
    return folder


def fields(n):
    return 3 + 9 * torch.rand(2, 1, n, n, generator=torch.Generator().manual_seed(n))


def refusal(folder, **options):
    """The one line that says why a folder is not read."""
    with pytest.raises(ValueError, match=r".") as refused:
        SharedOperator.from_pretrained(folder, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_comes_back_to_the_last_bit(run, tmp_path, monkeypatch, name):
    before = run(name, TINY[name])
    folder = shared(before, tmp_path / "shared")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a local folder needs no network"))
    random = torch.random.get_rng_state()
    operator, trained = SharedOperator.from_pretrained(folder), load(before, device="cpu")
    assert torch.equal(random, torch.random.get_rng_state())
    for n in (17, 24):
        assert torch.equal(operator.predict(fields(n)), trained.predict(fields(n))), n
    operator.save_pretrained(tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_changed_byte_of_the_weights_is_found_wherever_it_is(run, tmp_path):
    weights = shared(run("fno", TINY["fno"]), tmp_path / "shared") / "model.safetensors"
    whole = weights.read_bytes()
    for place in (0, 20, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "is not what config.json says: its SHA-256 is another" in refusal(tmp_path / "shared")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arguments": TINY["fno"] | {"modes": 4, "period": 1.5, "rank": 1.0}}, "arguments is"),
        ({"grid": "left"}, "grid is 'left' there, 'vertices' in model.safetensors"),
        ({"operator": "unet", "arguments": {}}, "operator is 'unet' there, 'fno' in model.safetensors"),
    ],
)
def test_a_config_of_another_operator_is_refused_even_where_its_weights_would_fit(run, tmp_path, change, told):
    config = shared(run("fno", TINY["fno"]), tmp_path / "shared") / "config.json"
    about = json.loads(config.read_text())
    config.write_text(json.dumps(about | {"model": about["model"] | change}))
    assert told in refusal(tmp_path / "shared")


def test_what_is_no_export_or_of_another_version_is_refused(run, tmp_path):
    folder = shared(run("fno", TINY["fno"]), tmp_path / "shared")
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | {"schema_version": 2}))
    assert "is of version 2, and this program reads version 1" in refusal(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert "is no exported operator" in refusal(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        SharedOperator.from_pretrained(folder)


def test_code_of_ones_own_goes_with_the_operator_and_runs_when_trusted_as_it_was(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    before = run("mine.py:Mine", {"width": 5})
    expected = load(before, device="cpu").predict(fields(9))
    folder = shared(before, tmp_path / "shared")
    (tmp_path / "mine.py").unlink()
    monkeypatch.chdir("/")
    assert "names code of its own, operator 'mine.py:Mine': trust=True runs it" in refusal(folder)
    assert torch.equal(SharedOperator.from_pretrained(folder, trust=True).predict(fields(9)), expected)
    (folder / "mine.py").write_text(OWN + "print('harm')\n")
    assert "its file has changed" in refusal(folder, trust=True)


def test_presets_and_defaults_are_written_out():
    said = spelled_out("fno", {"preset": "small", "depth": 2})
    assert said == {"modes": 12, "width": 19, "depth": 2, "period": 1.0, "rank": 1.0}
    assert spelled_out("mine.py:Mine", {"width": 5}) == {"width": 5}


def test_the_statistics_of_the_normalisers_stand_in_the_config(run, tmp_path):
    folder = shared(run("fno", TINY["fno"]), tmp_path / "shared")
    about = json.loads((folder / "config.json").read_text())
    operator = SharedOperator.from_pretrained(folder)
    assert torch.equal(torch.tensor(about["normalisation"]["inputs"]["mean"]), operator.encoder.mean)
    assert torch.equal(torch.tensor(about["normalisation"]["outputs"]["std"]), operator.decoder.std)
    assert about["files"] == {"model.safetensors": sha256(folder / "model.safetensors")}
