"""The card of a dataset: it says what its file says, and makes it again (see the tests of the command line)."""

import h5py
import torch

from data_gen import generate, read_info
from data_gen.card import card
from data_gen.convert import convert


def read(path):
    """The facts of a card: what stands before a colon, and after it."""
    with h5py.File(path) as file:
        lines = card(file).splitlines()
    return dict(line[2:].split(": ", 1) for line in lines if line.startswith("- "))


def test_a_card_says_how_labels_were_made_and_what_they_met(tmp_path):
    path = tmp_path / "w.hdf5"
    generate(path, 4, 33, problem="helmholtz", omega=16, split=(0.5, 0.25, 0.25), seed=3, label_refinement=2)
    facts = read(path)
    assert facts["splits"] == "train 2, val 1, test 1"
    assert facts["coarser grids"] == "by volume mean, 2, 3, 5, 9, 17, 33 points a side"
    assert (facts["solved for on"], facts["solver"], facts["accepted by"]) == ("65×65", "lu 4", "rtol 4")
    measured = read_info(path).attributes["label_uncertainty"]
    assert facts["label uncertainty"] == f"{measured:.2g}, the mean of 1 samples"
    with h5py.File(path) as file:
        largest = file["quality/evidence"][:].max()
    assert facts["largest evidence"] == f"{largest:.2g}, before rounding to float32"
    assert facts["size"] == f"{path.stat().st_size / 1e6:.3g} MB"


def test_what_a_file_of_others_does_not_say_is_unknown(tmp_path):

    x, y = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    torch.save({"x": x, "y": y}, tmp_path / "darcy_train_8.pt")
    convert(tmp_path / "darcy_train_8.pt", tmp_path / "d.hdf5", grid="left")
    facts = read(tmp_path / "d.hdf5")
    assert {facts[name] for name in ("solved for on", "solver", "tolerance", "accepted by")} == {"unknown"}
    with h5py.File(tmp_path / "d.hdf5") as file:
        assert "it was not made by `generate`" in card(file)
