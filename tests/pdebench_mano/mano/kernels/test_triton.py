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


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning")  # Triton's own, of what its next release changes
def test_the_gradient_of_a_narrow_mlp_has_no_warp_group_products():
    """As Hopper's, of 64 rows and 32 channels, they have read beside shared memory (Triton 3.6)."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from pdebench_mano.mano.kernels.gpu.layers import mlp_backward
    from pdebench_mano.mano.kernels.gpu.pointwise import rows_at_once

    def compiled(rows):
        sizes = {"C": 32, "HIDDEN": 64, "OUT": 32, "BLOCK_OUT": 32, "ROWS": rows, "CHUNK": 64}
        constants = sizes | {"TANH": False, "RESIDUAL": True}
        types = dict.fromkeys(("norm_weight", "norm_bias", "bias1", "partial"), "*fp32") | {"rows": "i32"}
        types |= dict.fromkeys(constants, "constexpr")
        names = mlp_backward.arg_names
        source = ASTSource(
            mlp_backward,
            {name: types.get(name, "*bf16") for name in names},
            {(names.index(name),): value for name, value in constants.items()},
        )
        return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 1})

    assert "warp_group_dot" in compiled(64).asm["ttgir"], "what 64 rows are compiled to, for this test to say anything"
    assert "warp_group_dot" not in compiled(rows_at_once(32)).asm["ttgir"]


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
