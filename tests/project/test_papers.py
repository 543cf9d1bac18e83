"""The experiments of `benchmarks/papers`: what is trained and tested on, and that the page says what was recorded."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdebench_mano.training.losses import cross_entropy
from pdebench_mano.training.regimes import Foton, FotonLatent, TransportedFoton, alignment

PAPERS = Path(__file__).parents[2] / "benchmarks" / "papers"
RECORDS = sorted((PAPERS / "results").glob("*.jsonl"))


@pytest.fixture(scope="module")
def scripts():
    """Its modules by name, as its scripts import them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PAPERS)
        yield importlib.import_module


@pytest.fixture(scope="module")
def digits(scripts):
    pytest.importorskip("sklearn")
    return scripts("images").parts("digits")


@given(st.lists(st.integers(3, 40), min_size=1, max_size=6), st.integers(0, 3))
def test_every_class_is_split_alike_and_no_image_is_in_two_parts(scripts, sizes, seed):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = scripts("images").split(classes, seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(classes)))
    for each, size in enumerate(sizes):
        count = {name: int((classes[indices] == each).sum()) for name, indices in parts.items()}
        assert count["validation"] == count["test"]
        assert abs(count["test"] - size / 5) <= 0.5


def test_images_are_scaled_by_what_is_trained_on(scripts, digits):
    images, classes = scripts("images").pixels("digits")
    known = digits["train"].images.double()
    assert known.mean() == pytest.approx(0, abs=1e-6)
    assert known.std(correction=0) == pytest.approx(1, abs=1e-6)
    train, index = (scripts("images").split(classes)[name] for name in ("train", "test"))
    expected = (images[index] - images[train].mean()) / images[train].std()
    np.testing.assert_allclose(digits["test"].images[:, 0], expected, atol=1e-6)
    assert digits["test"].labels.argmax(1).tolist() == classes[index].tolist()


@pytest.mark.parametrize("regime", [Foton(), FotonLatent(), TransportedFoton()], ids=lambda regime: regime.name)
@pytest.mark.parametrize("network", ["MLP", "MLP, orthogonal head", "convolutions"])
def test_a_linear_network_gets_the_gradient_on_digits(scripts, digits, network, regime):
    torch.manual_seed(0)
    cell = {"data": "digits", "network": network, "depth": 5, "activation": "identity"}
    chain = scripts("foton").build(cell, 8, constrained=True).double()
    a, u = (each[:64].double() for each in digits["train"])
    for name, (cosine, ratio) in alignment(chain, regime, a, u, cross_entropy).items():
        assert cosine >= 1 - 1e-12, name
        assert ratio == pytest.approx(1, abs=1e-10), name


def test_the_last_layer_of_fields_is_the_adjoint_of_its_adjoint(scripts):
    """⟨L z, v⟩ = ⟨z, L* v⟩, and its derivative is autograd's."""
    torch.manual_seed(0)
    layer = scripts("networks").Readout(3, 4, 10).double()
    z, v = torch.randn(5, 3, 4, 4).double(), torch.randn(5, 10, 1, 1).double()
    torch.testing.assert_close((layer.lin(z) * v).sum(), (z * layer.adj(v)).sum())
    (layer(z) * v).sum().backward()
    torch.testing.assert_close(layer.param_grad(v, z)["weight"], layer.weight.grad)


def test_a_setting_is_chosen_on_validation_and_tested_once(scripts, digits, monkeypatch):
    """Only networks of the setting that scored best, the first of two here, are shown test images."""
    records, looked = scripts("records"), []
    quality = {0.1: 0.3, 0.2: 0.9, 0.3: 0.9}

    def train(cell, known, seed, lr):
        assert known is digits["train"]
        network = torch.nn.Linear(1, 1)
        network.lr, network.seed = lr, seed
        return network, {}

    def accuracy(network, part):
        looked.append((next(name for name in digits if digits[name] is part), network.lr, network.seed))
        return quality[network.lr]

    monkeypatch.setattr(records, "accuracy", accuracy)
    record = records.measure({"seeds": 3}, digits, [{"lr": lr} for lr in quality], train)
    assert record["chosen"] == {"lr": 0.2}
    assert [(lr, seed) for name, lr, seed in looked if name == "test"] == [(0.2, 0), (0.2, 1), (0.2, 2)]


@pytest.mark.parametrize("script", ["foton", "mano"])
def test_a_script_runs_and_goes_on_from_its_records(script, digits, tmp_path):
    """In a process of its own, where annotations are not executed: those of `fit` speak of fields alone."""
    out = tmp_path / "records.jsonl"
    command = [sys.executable, PAPERS / f"{script}.py", "--quick", "--out", out]
    cells = len(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())
    lines = out.read_text().splitlines()
    assert len(lines) == cells > 2
    out.write_text("\n".join(lines[1:]) + "\n")
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(again) == 1
    first, anew = json.loads(lines[0]), json.loads(out.read_text().splitlines()[-1])
    assert anew["test"] == first["test"]
    assert anew["trials"] == first["trials"]


def test_the_tables_are_made_from_the_records(scripts):
    tables = scripts("tables")
    page = tables.PAGE.read_text()
    assert tables.with_tables(page) == page
    assert {name for _, name, _ in re.findall(tables.TABLE, page)} == set(tables.TABLES)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_records_are_those_of_the_scripts_and_complete(scripts, path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    cells = [record["cell"] for record in records]
    assert sorted(map(str, cells)) == sorted(map(str, scripts(path.stem).grid()))
    for record in records:
        assert len(record["test"]) == len(record["validation"]) == record["cell"]["seeds"]
        best = max(record["trials"], key=lambda trial: trial["validation"])
        assert best == record["chosen"] | {"validation": best["validation"]}
        assert record["validation"][0] == best["validation"]
