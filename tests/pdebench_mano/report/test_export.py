"""The export command: a folder that is whole, a card of what the records say, and nothing that is overwritten."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from data_gen import generate
from pdebench_mano import RunConfig, load, train
from pdebench_mano.cli import main
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.records import read_record, write_record
from pdebench_mano.report.export import export
from pdebench_mano.training.sharing import SharedOperator

FORKED = """
from torch import nn


class Forked(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, a):
        return super().forward(a) if a.sum() > 0 else a
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a dataset of refined labels, a run on it that was evaluated, and one that was not."""
    place = tmp_path_factory.mktemp("made")
    generate(place / "darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25), label_refinement=2)
    for seed in (0, 1):
        config = RunConfig(
            operator="fno",
            operator_args={"width": 4, "modes": 4, "depth": 1},
            data=str(place / "darcy.hdf5"),
            resolution=9,
            epochs=2,
            seed=seed,
            lr=3e-3,
        )
        train(config, place / f"run{seed}", device="cpu")
    assess(place / "run0", place / "darcy.hdf5", [9, 17])
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy to work in."""
    shutil.copytree(made, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def command(capsys, *words):
    """Run the command line in this process: its exit status and what it says."""
    sys.argv = ["pdebench-mano", *words]
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return stopped.value.code, said.out + said.err


def content(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def section(card, title):
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_command_writes_once_and_its_folder_predicts_what_the_run_does(place, capsys):
    assert command(capsys, "export", "run0", "--out", "new/shared") == (0, "new/shared written\n")
    before = content(place / "new" / "shared")
    again = command(capsys, "export", "run0", "--out", "new/shared")
    assert again == (0, "new/shared is there already, and is left as it is\n")
    assert content(place / "new" / "shared") == before
    assert list((place / "new").iterdir()) == [place / "new" / "shared"]
    a = 3 + 9 * torch.rand(2, 1, 12, 15)
    expected = load("run0", device="cpu").predict(a)
    assert torch.equal(SharedOperator.from_pretrained("new/shared").predict(a), expected)


def test_a_folder_that_holds_anything_else_is_left_alone(place, capsys):
    export("run0", "shared")
    before = content(place / "shared")
    for words, told in (
        (("run1", "--out", "shared"), "out=shared holds another export, whose README.md differs"),
        (("run0", "--out", "shared", "--torch-export"), "out=shared holds an export without model.pt2"),
        (("run0", "--out", "run1"), "out=run1 holds something that is no exported operator"),
    ):
        status, said = command(capsys, "export", *words)
        assert status == 2
        assert told in said
        assert said.count("\n") == 1
    assert content(place / "shared") == before


def test_a_refused_program_leaves_nothing(place, capsys):
    (place / "forked.py").write_text(FORKED)
    train(RunConfig(operator="forked.py:Forked", data="darcy.hdf5", epochs=1), "forked", device="cpu")
    before = set(place.iterdir())
    status, said = command(capsys, "export", "forked", "--out", "shared", "--torch-export")
    assert (status, said.count("\n")) == (2, 1)
    assert "torch.export does not take operator Forked" in said
    assert set(place.iterdir()) == before


def test_a_program_lies_beside_and_stays_behind(place, capsys, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # sizes are no numbers while it is traced
    status, said = command(capsys, "export", "run0", "--out", "shared", "--torch-export")
    assert (status, said) == (
        0,
        "shared written\nshared/model.pt2 takes any batch on 9×9 points, or on more along either axis\n",
    )
    assert "any batch on 9×9 points" in section((place / "shared" / "README.md").read_text(), "As a program")
    assert command(capsys, "export", "run0", "--out", "shared", "--torch-export")[0] == 0
    SharedOperator.from_pretrained("shared").save_pretrained("again")
    assert "model.pt2" not in (place / "again" / "README.md").read_text()


def test_the_card_says_what_the_record_does(place):
    export("run0", "shared")
    card = (place / "shared" / "README.md").read_text()
    (record,) = map(read_record, (place / "run0" / "records").glob("*.jsonl"))
    cells = section(card, "Errors")
    for row in record.evaluations:
        assert f"{np.mean(row.errors['relative_l2']):.4f} [".lstrip("0") in cells or row.mean() < 0.01, row.model
    assert {"fno", "upsampled fno"} <= {line.split("|")[1].strip() for line in cells.splitlines() if "|" in line}
    assert f"over {len(record.samples)} samples" in cells
    facts = section(card, "Trained on")
    assert f"within {record.dataset['label_uncertainty']:.2g} of the equation" in facts
    assert "- samples: 6\n- resolution: 9²" in facts
    assert "- law args: high 12, low 3, alpha 2, tau 3" in facts
    training = section(card, "Training")
    assert "- optimizer: adamw\n- lr: 0.003" in training
    assert f"- commit that evaluated it: {record.commit}" in training
    assert "Its errors were measured on grids of 9² to 17²" in section(card, "Limits")
    header = ModelCard(card).data
    assert (header.license, header.library_name) == ("mit", "pdebench-mano")


def test_without_a_record_the_card_says_so(place):
    export("run1", "shared")
    card = (place / "shared" / "README.md").read_text()
    assert section(card, "Errors").strip() == "There is no record of an evaluation of these weights."
    assert "no record says how it fares" in section(card, "Limits")
    assert "within" in section(card, "Trained on")  # which the file says itself
    config = Path("run1/config.json")
    config.write_text(config.read_text().replace("darcy.hdf5", "gone.hdf5"))
    export("run1", "elsewhere")
    assert "- equation: unknown" in (place / "elsewhere" / "README.md").read_text()


def test_records_of_a_benchmark_are_those_of_these_weights_and_its_references(place, capsys):
    (path,) = (place / "run0" / "records").glob("*.jsonl")
    record = read_record(path)
    shutil.rmtree(place / "run0" / "records")
    operator = [row for row in record.evaluations if row.kind == "operator"]
    solver = [row for row in record.evaluations if row.kind == "solver"]
    other = [replace(row, model="other", kind="operator") for row in operator]
    write_record(replace(record, evaluations=operator), place / "suite" / "records" / "a.jsonl")
    write_record(
        replace(record, evaluations=solver, configuration={}, weights="", model="baselines"),
        place / "suite" / "records" / "b.jsonl",
    )
    write_record(
        replace(record, evaluations=other, weights="0", model="other"), place / "suite" / "records" / "c.jsonl"
    )
    export("run0", "shared", records="suite")
    cells = section((place / "shared" / "README.md").read_text(), "Errors")
    names = {line.split("|")[1].strip() for line in cells.splitlines() if line.startswith("| ")}
    assert names == {"", "---", "fno"} | {f"{row.model} at {row.computed_at}²" for row in solver}
    status, said = command(capsys, "export", "run1", "--out", "new", "--records", "suite")
    assert (status, "holds no record of the weights of run1" in said) == (2, True)


def test_a_record_of_other_weights_is_refused(place):
    (path,) = (place / "run0" / "records").glob("*.jsonl")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "0"}))
    with pytest.raises(ValueError, match="is of other weights"):
        export("run0", "shared")
    assert not (place / "shared").exists()
