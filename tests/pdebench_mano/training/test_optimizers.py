"""Muon: the polar factor, what it is applied to, and that PyTorch's own takes the same steps."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from baselines.fno import FNO
from pdebench_mano.machine.graphs import recorded_update
from pdebench_mano.operators.registry import build_operator
from pdebench_mano.orthogonal.operators import OrthogonalFNO
from pdebench_mano.training.fit import fit
from pdebench_mano.training.optimizers import (
    Muon,
    complex_form,
    is_map,
    iterated,
    joined,
    matrices,
    optimizers,
    polar,
    real_form,
    set_rate,
)
from pdebench_mano.training.regimes import Backprop


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (4, 20, 20)])
def test_polar_keeps_the_singular_vectors_and_takes_the_values_near_to_one(shape, dtype):
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=dtype), full_matrices=False)
    sigma = torch.linspace(0.1, 3, u.shape[-1], dtype=torch.float64)
    factor = polar((u * sigma) @ vh)
    assert not factor.is_conj()  # what is to be conjugated yet, not all kernels take
    core = u.mH @ factor @ vh.mH
    values = torch.diagonal(core, dim1=1, dim2=2)
    torch.testing.assert_close(core, torch.diag_embed(values), atol=1e-12, rtol=0)
    assert values.real.min() > 0.65
    assert values.real.max() < 1.25


def test_complex_matrices_are_iterated_as_real_ones():
    torch.manual_seed(0)
    m = torch.randn(3, 16, 20, dtype=torch.complex128) / 20
    assert torch.equal(complex_form(real_form(m)), m)
    torch.testing.assert_close(complex_form(iterated(real_form(m))), iterated(m), atol=1e-12, rtol=0)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_pytorch_takes_the_same_steps():
    torch.manual_seed(0)
    weights = torch.randn(24, 40), torch.ones(40, 16)
    ours, theirs = ([nn.Parameter(p.clone()) for p in weights] for _ in range(2))
    options = {"lr": 0.1, "weight_decay": 0.3}
    pair = Muon(ours, **options), torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options)
    before = [p.detach().clone() for p in ours]
    for _ in range(3):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        for optimizer in pair:
            optimizer.step()
    for p, q, start in zip(ours, theirs, before, strict=True):
        assert (p - q).norm() < 0.02 * (q - start).norm()  # PyTorch rounds to bfloat16 on the way


def test_a_rate_in_a_tensor_makes_the_same_steps():
    torch.manual_seed(0)
    weight = torch.randn(20, 24, dtype=torch.float64)
    number, tensor = (nn.Parameter(weight.clone()) for _ in range(2))
    pair = [Muon([number], lr=0.1, weight_decay=0.3)]
    pair.append(Muon([tensor], lr=torch.tensor(0.1, dtype=torch.float64), weight_decay=0.3))
    for rate in (0.1, 0.05):
        number.grad = torch.randn_like(number)
        tensor.grad = number.grad.clone()
        for optimizer in pair:
            set_rate(optimizer, rate)
            optimizer.step()
    torch.testing.assert_close(number, tensor, rtol=1e-14, atol=1e-14)
    assert (number - weight).abs().max() > 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_recorded_updates_are_the_updates_themselves(name):
    weights = []
    for recorded in (True, False):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)).cuda()
        made = optimizers(name, list(net.parameters()), 1e-2, 1e-2, recorded)

        def update(made=made):
            for optimizer in made:
                optimizer.step()

        call = recorded_update(update, list(net.parameters())) if recorded else update
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        for step in range(8):
            for p in net.parameters():
                p.grad.copy_(torch.randn_like(p))
            for optimizer in made:
                set_rate(optimizer, 1e-2 / (1 + step))
            call()
        weights.append([p.detach() for p in net.parameters()])
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_kernels_and_modes_are_stepped_as_the_matrices_they_are():
    torch.manual_seed(0)
    kernel, spectral = torch.randn(16, 18, 3, 3), torch.randn(16, 20, 4, 5, dtype=torch.complex64)
    for weight in (kernel, spectral):
        assert torch.equal(joined(matrices(weight), weight.shape), weight)
    mode = nn.Parameter(spectral[:, :, 2, 3].clone())
    flat = nn.Parameter(kernel.flatten(1))
    whole = [nn.Parameter(kernel.to(memory_format=torch.channels_last)), nn.Parameter(spectral.clone())]
    gradients = [torch.randn_like(p) for p in whole]
    gradients += [gradients[0].flatten(1), gradients[1][:, :, 2, 3]]
    for p, gradient in zip([*whole, flat, mode], gradients, strict=True):
        p.grad = gradient.clone()
        Muon([p], lr=0.1).step()
    torch.testing.assert_close(whole[0].flatten(1), flat)
    torch.testing.assert_close(whole[1][:, :, 2, 3], mode)


def test_every_parameter_has_one_optimizer_and_narrow_maps_have_adamw():
    operator = FNO(1, 1, modes=4, width=16, depth=2)
    parameters = list(operator.parameters())
    muon, adamw = optimizers("muon", parameters, 1e-3, 0.0)
    groups = [{id(p) for p in optimizer.param_groups[0]["params"]} for optimizer in (muon, adamw)]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {id(p) for p in parameters}
    names = {name for name, p in operator.named_parameters() if id(p) in groups[0]}
    assert "model.fno_blocks.convs.0.weight.tensor" in names
    assert "model.lifting.fcs.0.weight" not in names


def test_a_multiplier_that_mixes_no_channels_is_no_map():
    operator = build_operator("ho-fno", 1, 1, width=24, modes=24, depth=1)
    weights = {name: is_map(p) for name, p in operator.named_parameters() if p.ndim > 1}
    assert not weights["blocks.0.multiplier.weight"]
    assert weights["blocks.0.factors.weight"]


def test_orthogonal_layers_are_refused():
    data = TensorDataset(torch.randn(2, 1, 9, 9), torch.randn(2, 1, 9, 9))
    with pytest.raises(ValueError, match="optimizer='muon' does not know the matrices of orthogonal layers"):
        fit(OrthogonalFNO(1, 1, width=16, modes=2), Backprop(), data, optimizer="muon")
