"""The Triton kernels, in Triton's interpreter where there is no GPU; and what is said where they cannot run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pdebench_mano.mano import PublishedMANO, fusion, kernels

CHECKS = Path(__file__).with_name("kernels_in_triton.py")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_equal_the_definition():
    environment = os.environ if torch.cuda.is_available() else os.environ | {"TRITON_INTERPRET": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n0",
        "-W",
        "ignore::RuntimeWarning",
        str(CHECKS),
    ]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=CHECKS.parents[4], check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_explain_names_every_level_and_the_reason():
    model = PublishedMANO(1, 1, depth=1)
    text = fusion.explain(model, torch.zeros(1, 1, 16, 16))
    assert text.startswith("blocks.0.attention: 16×16 shifts, 8×8 shifts, 4×4 windows, 2×2 windows")
    assert "not fused: it needs a CUDA device, not cpu" in text
    with kernels.using("windows"):
        assert "16×16 windows" in fusion.explain(model, torch.zeros(1, 1, 16, 16))


def test_forcing_what_cannot_serve_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model, a = PublishedMANO(1, 1, depth=1), torch.zeros(1, 1, 8, 8)
    for form in ("triton", "fused"):
        with kernels.using(form), pytest.raises(ValueError, match=r"(?i)cannot serve: .*(cuda|triton)"):
            model(a)
    with pytest.raises((ValueError, TypeError), match="fastest"), kernels.using("fastest"):
        pass
