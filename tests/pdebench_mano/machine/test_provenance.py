"""The digest of the source: every file of the three packages counts, and nothing else does."""

import shutil

import pytest

from pdebench_mano.machine import provenance


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest of a copy of the packages, after files in it were changed."""
    left = shutil.ignore_patterns("published", "__pycache__")
    for package in provenance.PACKAGES:
        shutil.copytree(provenance.ROOT / package, tmp_path / package, ignore=left)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digest(**changed):
        for name, text in changed.items():
            with (tmp_path / name.replace("__", "/")).with_suffix(".py").open("a") as file:
                file.write(text)
        return provenance.provenance.__wrapped__()["source"]

    return digest


def test_every_package_counts(digest):
    seen = [
        provenance.provenance()["source"],
        digest(data_gen__grid="# changed\n"),
        digest(pdebench_mano__mano__model="# changed\n"),
        digest(baselines__fno="# changed\n"),
    ]
    assert len(set(seen)) == len(seen)


def test_a_copy_elsewhere_has_the_same_digest(digest):
    assert digest() == provenance.provenance()["source"]
