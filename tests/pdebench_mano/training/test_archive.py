"""The digest of weights, read off their file without PyTorch, and with it."""

import os
from collections import OrderedDict

import pytest
import torch

from pdebench_mano.training import archive, checkpoint
from pdebench_mano.training.folder import BEST, weights_of

EVERY = torch.arange(24.0).reshape(4, 6)
TENSORS = {
    "whole": EVERY,
    "transposed": EVERY.T,
    "part of the same storage": EVERY[1:3, ::2],
    "flipped": EVERY.flip(1),
    "expanded": EVERY[:, :1].expand(4, 3),
    "number": torch.tensor(3),
    "none": torch.zeros(0, 5),
    "complex": torch.complex(EVERY, -EVERY),
    "half": EVERY.bfloat16(),
    "flags": EVERY > 5,
}


class Command:
    """What a pickle of it runs where it is read without care."""

    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize("name", TENSORS)
def test_bytes_of_tensors_are_those_that_pytorch_reads(name, tmp_path):
    state = OrderedDict({"b": TENSORS[name], "a": EVERY})
    checkpoint.write({"operator": state}, tmp_path / BEST)
    assert archive.digest(tmp_path / BEST, "operator") == checkpoint.digest(state)


@pytest.mark.parametrize("other", [TENSORS["complex"].conj(), EVERY.to_sparse(), torch.nn.Parameter(EVERY)])
def test_what_is_no_plain_tensor_is_left_to_pytorch(other, tmp_path):
    checkpoint.write({"operator": {"a": EVERY}, "other": other}, tmp_path / BEST)
    with pytest.raises(archive.NotPlain):
        archive.digest(tmp_path / BEST, "operator")
    assert weights_of(tmp_path) == checkpoint.digest({"a": EVERY})


def test_nothing_that_a_file_names_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.write({"operator": {"a": EVERY}, "other": Command()}, tmp_path / BEST)
    with pytest.raises(archive.NotPlain, match="mkdir"):
        archive.digest(tmp_path / BEST, "operator")
    assert not (tmp_path / "made").exists()


def test_a_byte_of_a_weight_that_has_changed_is_no_weight(tmp_path):
    checkpoint.write({"operator": {"a": EVERY}}, tmp_path / BEST)
    content = (tmp_path / BEST).read_bytes()
    (tmp_path / BEST).write_bytes(content.replace(EVERY.numpy().tobytes(), (EVERY + 1).numpy().tobytes()))
    with pytest.raises(archive.NotPlain, match="CRC"):
        archive.digest(tmp_path / BEST, "operator")
