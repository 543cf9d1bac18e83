"""Views of steps: consecutive states of a file, brought to a grid as the problem does it."""

import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_gen import generate
from data_gen.problems.navier_stokes.fourier import resampled
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.steps import Rollouts, roll

OWN = Path(__file__).parents[2] / "project" / "own_problems.py"


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """Three short trajectories of Navier–Stokes flow at 32²."""
    path = tmp_path_factory.mktemp("data") / "flow.hdf5"
    options = {"viscosity": 1e-4, "times": [0.25, 0.5, 0.75, 1.0]}
    generate(path, 3, 32, problem="navier-stokes", problem_args=options, split=(1.0, 0.0, 0.0))
    return path


@pytest.fixture(scope="module")
def heated(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "heated.hdf5"
    generate(path, 4, 8, problem=f"{OWN}:Heated")
    return path


def test_pairs_are_consecutive_states_from_the_initial_one_on(flow):
    with h5py.File(flow) as file:
        states = np.concatenate([file["nu"][:][:, None], file["tensor"][:, :, 0]], 1)
    view = Dataset(flow).view(pairs="step")
    assert len(view) == 3 * 4
    a, u = view.batch(range(12))
    np.testing.assert_array_equal(a[:, 0], states[:, :-1].reshape(12, 32, 32))
    np.testing.assert_array_equal(u[:, 0], states[:, 1:].reshape(12, 32, 32))
    a, u = view.window([0, 1, 5], 3)
    for k, (sample, first) in enumerate([(0, 0), (0, 1), (2, 1)]):
        np.testing.assert_array_equal(a[k, 0], states[sample, first])
        np.testing.assert_array_equal(u[k, :, 0], states[sample, first + 1 : first + 4])


@pytest.mark.parametrize("pairs", ["final", "step"])
def test_every_field_comes_to_a_coarser_grid_as_the_problem_brings_it(flow, pairs):
    fine, coarse = (Dataset(flow).view(resolution=n, pairs=pairs) for n in (32, 16))
    for whole, part in zip(fine.batch(range(3)), coarse.batch(range(3)), strict=True):
        expected = resampled(whole.double().numpy(), (16, 16))
        np.testing.assert_allclose(part, expected, atol=1e-6)
        assert np.abs(whole[..., ::2, ::2].numpy() - expected).max() > 1e-4, "a stride would alias"


def test_an_input_that_is_no_state_stands_beside_each_state(heated):
    view = Dataset(heated, trust=True).view(pairs="step")
    assert [field.name for field in view.inputs] == ["temperature", "source"]
    with h5py.File(heated) as file:
        source, u = file["nu"][:], file["tensor"][:, :, 0]
    a, following = view.batch([4, 5, 7])
    np.testing.assert_array_equal(a[:, 1], source[[1, 1, 1]])
    np.testing.assert_array_equal(a[:, 0], np.stack([np.zeros((8, 8)), u[1, 0], u[1, 2]]))
    np.testing.assert_array_equal(following[:, 0], u[1, [0, 1, 3]])
    assert [each.inputs for each in view.symmetries] == [(1, 1), (-1, -1)]


def test_an_exact_step_rolls_out_to_the_stored_states_from_any_start(heated):
    """The solution operator of a linear equation over one step, state and source."""
    data = Dataset(heated, trust=True)
    problem = replace(data.problem)
    rate = problem.diffusivity * 4 * np.pi**2 * sum(np.meshgrid(*[np.fft.fftfreq(8, 1 / 8) ** 2] * 2))
    decay = torch.from_numpy(np.exp(-rate * 0.5))
    grown = torch.from_numpy(np.where(rate > 0, -np.expm1(-rate * 0.5) / np.where(rate > 0, rate, 1), 0.5))

    def step(a):
        state, source = torch.fft.fft2(a.double()).unbind(1)
        return torch.fft.ifft2(state * decay + source * grown).real[:, None]

    for start, count in [(0.0, 4), (1.0, 2)]:
        view = Rollouts(data, start=start)
        a, u = view.batch(range(4))
        assert view.times == (0.5, 1.0, 1.5, 2.0)[4 - count :]
        np.testing.assert_allclose(roll(step, a, count).flatten(1, 2), u, atol=1e-5)


def test_without_a_cache_and_in_another_process_the_pairs_are_the_same(flow):
    kept, read = (Dataset(flow).view(resolution=16, pairs="step", cache_bytes=n) for n in (1 << 30, 0))
    for other in (read, pickle.loads(pickle.dumps(read))):
        for x, y in zip(kept.window([7, 0, 7], 2), other.window([7, 0, 7], 2), strict=True):
            assert torch.equal(x, y)


def test_steps_need_times_that_are_evenly_spaced_from_0(tmp_path):
    generate(tmp_path / "still.hdf5", 2, 9)
    with pytest.raises(ValueError, match=r"pairs='step' needs solutions in time, and those of .* are stationary"):
        Dataset(tmp_path / "still.hdf5").view(pairs="step")
    problem = {"viscosity": 1e-2, "times": [0.25, 0.75]}
    generate(tmp_path / "uneven.hdf5", 2, 8, problem="navier-stokes", problem_args=problem)
    with pytest.raises(ValueError, match=r"evenly spaced from 0; .* has 0.25, 0.75"):
        Dataset(tmp_path / "uneven.hdf5").view(pairs="step")


def test_a_start_that_is_not_stored_is_named_with_those_that_are(flow):
    with pytest.raises(ValueError, match=r"start must be a time of .* 0, 0.25, 0.5, 0.75, got 1"):
        Rollouts(Dataset(flow), start=1.0)
