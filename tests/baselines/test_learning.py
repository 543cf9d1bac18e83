"""Baselines learn: after a few steps they predict better than the mean solution does."""

import pytest
import torch

from data_gen import generate
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.normalized import normalized
from pdebench_mano.operators.registry import build_operator

STEPS = 400
SMALL = {
    "transolver": {"width": 16, "depth": 2, "heads": 2, "slices": 8, "reference": 4, "spacing": None},
    "ho-fno": {"width": 16, "depth": 2, "modes": 8},
    "lrsa": {"width": 16, "depth": 2, "heads": 2, "latents": 8, "spacing": None},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 80, 17, split=(0.8, 0, 0.2))
    return Dataset(path)


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_beat_the_mean_solution(name, data):
    train, test = data.view("train", 9), data.view("test", 9)
    torch.manual_seed(0)
    operator = normalized(build_operator(name, 1, 1, **SMALL[name]), train)
    optimizer = torch.optim.AdamW(operator.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    a, u = train.batch(range(len(train)))
    for step in range(STEPS):
        some = torch.arange(step * 8, step * 8 + 8) % len(a)
        loss = relative_l2(operator(a[some]), u[some], "vertices").mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(operator.parameters(), 0.1)
        optimizer.step()
        schedule.step()
    unseen, truth = test.batch(range(len(test)))
    error = relative_l2(operator.predict(unseen), truth, "vertices").mean()
    mean = relative_l2(u.mean(0).expand(len(truth), -1, -1, -1), truth, "vertices").mean()
    assert error < 0.8 * mean, (error, mean)
