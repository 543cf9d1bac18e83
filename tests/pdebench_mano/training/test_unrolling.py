"""Training on steps: closed-form gradients through the roll, noise, and runs that predict as they were validated."""

from pathlib import Path

import pytest
import torch
from torch import nn

from data_gen import generate
from data_gen.problem import Symmetry
from pdebench_mano import RunConfig, load, train
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.normalized import normalized
from pdebench_mano.fields.symmetries import transform
from pdebench_mano.training.fit import fit
from pdebench_mano.training.losses import LOSSES, half_squared_error
from pdebench_mano.training.regimes import Backprop, FotonLatent
from pdebench_mano.training.unrolling import Unrolled, disturbed, over_steps

OWN = Path(__file__).parents[2] / "project" / "own_problems.py"


@pytest.fixture(scope="module")
def heat(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "heat.hdf5"
    generate(path, 20, 8, problem=f"{OWN}:Heat")
    return path


@pytest.fixture(scope="module")
def heated(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "heated.hdf5"
    generate(path, 10, 8, problem=f"{OWN}:Heated")
    return path


class Growth(nn.Module):
    """The next state is θ times the state, whatever the other inputs."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(0.7))

    def forward(self, a):
        return self.theta * a[:, :1]


@pytest.mark.parametrize(("detach", "through"), [(False, 2.0), (True, 1.0)])
def test_the_gradient_flows_through_the_roll_unless_it_is_cut(detach, through):
    """ℓ = ½(θs - t₁)² + ½(θ²s - t₂)², halved: the second step has 2θs to θ, or θs where its state is given."""
    a, t = torch.tensor([3.0, 9.0]).reshape(1, 2, 1, 1), torch.tensor([1.0, 4.0]).reshape(1, 2, 1, 1, 1)
    operator = Growth()
    Backprop().gradients(Unrolled(operator, 2, detach), a, t, over_steps(half_squared_error, 2))
    theta, s = 0.7, 3.0
    expected = ((theta * s - 1) * s + (theta**2 * s - 4) * through * theta * s) / 2
    assert operator.theta.grad.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_errors_over_steps_are_the_derivative_of_their_mean(name):
    loss, draw = over_steps(LOSSES[name], 3), torch.Generator().manual_seed(0)
    y, t = (torch.rand(2, 3, 2, 4, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    y, t = y.requires_grad_(), t / t.sum(2, keepdim=True)  # which an entropy takes for probabilities
    (gradient,) = torch.autograd.grad(loss.samples(y, t).sum(), y)
    torch.testing.assert_close(loss.errors(y, t), gradient)
    each = torch.stack([LOSSES[name].samples(y[:, k], t[:, k]) for k in range(3)], 1)
    torch.testing.assert_close(loss.samples(y, t), each.mean(1))


def test_noise_is_relative_to_each_state_and_leaves_other_inputs_alone():
    draw = torch.Generator().manual_seed(0)
    x = torch.linspace(0, 2 * torch.pi, 65)[:-1].sin().expand(64, 64)
    a = torch.stack([torch.stack([x, x]), torch.stack([5 + 100 * x, x])])
    moved = disturbed(a, 1, 0.1, lambda shape: torch.randn(shape, generator=draw))
    assert torch.equal(moved[:, 1], a[:, 1])
    noise = (moved - a)[:, 0].std((-2, -1)) / a[:, 0].std((-2, -1))
    assert noise.tolist() == pytest.approx([0.1, 0.1], rel=0.05)


def test_all_states_of_a_window_turn_alike():
    window = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    maps = [Symmetry((0, 1), (False, False)), Symmetry((1, 0), (True, False), (0.5, 0.0), (-1,), (-1,))]
    drawn = torch.tensor([1, 0])
    turned = transform(window, drawn, maps, "outputs")
    for k in range(3):
        assert torch.equal(turned[:, k], transform(window[:, k], drawn, maps, "outputs"))
    assert torch.equal(turned[0, 1, 0], -window[0, 1, 0].T.flip(0).roll(3, 0))


def test_a_linear_step_is_learned_and_rolled_out_as_it_was_validated(heated):
    """u ↦ u e^(-λ) + f (1 - e^(-λ))/λ on the mean and three waves an axis, by one Fourier layer: relative error .02."""
    data = Dataset(heated, trust=True)
    sets, held = data.view("train", pairs="step"), data.view("val", pairs="step")

    class Spectral(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 8, 5))

        def forward(self, a):
            return torch.fft.irfft2((torch.fft.rfft2(a) * self.weight).sum(1, keepdim=True), s=a.shape[-2:])

    operator = normalized(Spectral(), sets)
    options = {"epochs": 60, "batch_size": 8, "lr": 0.05, "weight_decay": 0.0, "unroll": 2}
    history = fit(operator, Backprop(), sets, validation=held, **options)
    assert history.best_validation < 0.02
    a, u = held.window([0], 4)
    error = relative_l2(operator.predict(a, steps=4).flatten(1, 2), u.flatten(1, 2)).item()
    assert history.best_validation == pytest.approx(error, rel=1e-4)


class Interrupted:
    """Stops the process, as far as the loop can tell, at the n-th batch of a view."""

    def __init__(self, view, stop):
        self.left, self.window_of = stop, view.window

    def __call__(self, indices, length):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.window_of(indices, length)


def test_resumed_training_on_noisy_windows_ends_with_the_same_bits(heat, tmp_path):
    view = Dataset(heat, trust=True).view("train", pairs="step")
    options = {"epochs": 2, "batch_size": 8, "unroll": 2, "noise": 0.1, "checkpoint_seconds": 0}

    def network():
        torch.manual_seed(0)
        return nn.Conv2d(1, 1, 3, padding=1)

    expected, resumed = network(), network()
    fit(expected, Backprop(), view, **options)
    view.window = Interrupted(view, 5)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Backprop(), view, out=tmp_path, **options)
    del view.window
    fit(resumed, Backprop(), view, out=tmp_path, **options)
    assert all(torch.equal(p, q) for p, q in zip(expected.parameters(), resumed.parameters(), strict=True))


def test_a_loaded_run_of_steps_rolls_out_and_one_of_final_states_refuses(heat, tmp_path):
    options = {"operator": "fno", "operator_args": {"width": 4, "modes": 4, "depth": 1}, "data": str(heat), "epochs": 1}
    train(RunConfig(**options, pairs="step", unroll=2), tmp_path / "step", device="cpu", trust=True)
    operator = load(tmp_path / "step", device="cpu")
    a, _ = Dataset(heat, trust=True).view("test", pairs="step").batch([0, 3])
    states = operator.predict(a, steps=3)
    assert torch.equal(states[:, 1], operator.predict(operator.predict(a)))
    assert states.shape == (2, 3, 1, 8, 8)
    train(RunConfig(**options), tmp_path / "final", device="cpu", trust=True)
    with pytest.raises(ValueError, match=r"steps=3 needs an operator trained with pairs='step', not 'final'"):
        load(tmp_path / "final", device="cpu").predict(a, steps=3)


def test_what_is_of_steps_is_refused_for_other_pairs(heat, tmp_path):
    config = RunConfig(operator="fno", data=str(heat), unroll=2)
    with pytest.raises(ValueError, match=r"unroll=2 is of steps in time: it needs pairs='step'"):
        train(config, tmp_path / "run", trust=True)
    with pytest.raises(ValueError, match=r"unroll must be at most the 3 steps of .*, got 4"):
        train(config.model_copy(update={"pairs": "step", "unroll": 4}), tmp_path / "run", trust=True)
    view = Dataset(heat, trust=True).view(pairs="step")
    with pytest.raises(TypeError, match="foton-latent cannot train Unrolled"):
        fit(Growth(), FotonLatent(), view, unroll=2)
    assert not (tmp_path / "run").exists()


def test_the_first_epoch_is_kept_where_every_rollout_blows_up(heat):
    view = Dataset(heat, trust=True).view(pairs="step")
    operator = Growth()
    operator.theta.data.fill_(1e10)
    history = fit(operator, Backprop(), view, validation=view, epochs=2, lr=1e-9)
    assert (history.best_epoch, history.best_validation) == (1, float("inf"))
