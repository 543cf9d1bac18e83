"""Replayed predictions are those that would be computed: here a recording is a call that fills one tensor anew."""

import copy
import pickle

import pytest
import torch
from torch import nn

from pdebench_mano.fields.lattice import holding, remembered, resample
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.fields.operator import Operator, live_on
from pdebench_mano.machine.replays import MOST, Replays
from pdebench_mano.operators.registry import build_operator


class Recorder:
    """Counts what it records; a replay reads its inputs where they lay, and overwrites its last result."""

    def __init__(self):
        self.made = self.replayed = 0

    def __call__(self, step, pool=None):
        self.made += 1
        result = step()
        place = tuple(t.data_ptr() for t in self.weights)

        def replay():
            assert place == tuple(t.data_ptr() for t in self.weights), "replayed with weights that are elsewhere"
            self.replayed += 1
            return result.copy_(step())

        return replay


class OnItsGrid(Operator):
    """Says the kind of its grid, and scales."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, a):
        return self.inner(a) + (self.grid == "periodic")


def always(_):
    return True


@pytest.fixture
def record():
    return Recorder()


@pytest.fixture
def operator(record):
    torch.manual_seed(0)
    found = NormalizedOperator(OnItsGrid(), Normalizer.identity(1), Normalizer.identity(1), pairs="step").eval()
    found.replays = Replays(holding, record, always)
    record.weights = list(found.parameters())
    return found


def plain(operator, a, steps=None):
    """What an operator predicts without recordings."""
    replays, operator.replays = operator.replays, None
    try:
        return operator.predict(a, steps)
    finally:
        operator.replays = replays


def check(operator, a):
    assert torch.equal(operator.predict(a), plain(operator, a))


def fields(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_what_comes_again_is_recorded_once_and_replayed_for_other_values(operator, record):
    inputs = [fields(2, 1, 5, 7, seed=seed) for seed in range(4)]
    results = [operator.predict(a) for a in inputs]
    assert (record.made, record.replayed) == (1, 3)
    for a, result in zip(inputs, results, strict=True):
        assert torch.equal(result, plain(operator, a)), "a result is not overwritten by the next"


def test_each_kind_of_input_has_a_recording_of_its_own(operator, record):
    kinds = [fields(1, 1, 5, 5), fields(2, 1, 5, 5), fields(1, 1, 6, 5), fields(1, 1, 5, 6).mT]
    for _ in range(3):
        for a in kinds:
            check(operator, a)
    assert record.made == len(kinds)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            check(operator, kinds[0])
    assert record.made == len(kinds) + 1
    live_on(operator, "periodic")
    for _ in range(3):
        check(operator, kinds[0])
    assert record.made == len(kinds) + 2


def test_another_type_of_numbers_is_another_kind(operator, record):
    for dtype in (torch.float32, torch.float64, torch.float32):
        operator.to(dtype)
        for seed in range(3):
            check(operator, fields(1, 1, 5, 5, seed=seed).to(dtype))
    assert record.made == 3, "and what is moved leaves no recording"


def test_at_most_eight_are_kept_and_what_was_unused_for_longest_goes(operator, record):
    often = fields(1, 1, 4, 4)
    check(operator, often)
    for n in range(MOST + 3):
        for _ in range(2):
            check(operator, fields(1, 1, 5, 5 + n))
        check(operator, often)
    assert record.made == MOST + 4, "what is used often stays"
    assert len(operator.replays.kept) == MOST
    check(operator, fields(1, 1, 5, 5))
    assert record.made == MOST + 4, "what was dropped is a new kind"


def test_where_nothing_can_be_recorded_all_is_computed_and_tried_once(operator):
    tries = []

    def refuse(step, pool=None):
        tries.append(step())
        raise RuntimeError("operation not permitted when stream is capturing")

    operator.replays = Replays(holding, refuse, always)
    for seed in range(4):
        check(operator, fields(1, 1, 5, 5, seed=seed))
    assert len(tries) == 1
    with pytest.raises(RuntimeError, match="expected input"):
        operator.predict(fields(1, 3, 5, 5))


def replace(operator):
    operator.operator.inner = copy.deepcopy(operator.operator.inner)
    nn.init.ones_(operator.operator.inner.weight)


@pytest.mark.parametrize(
    ("change", "recordings"),
    [
        (lambda operator: nn.init.ones_(operator.operator.inner.weight), 1),
        (lambda operator: operator.load_state_dict({k: v + 1 for k, v in operator.state_dict().items()}), 1),
        (lambda operator: setattr(operator.operator.inner, "weight", nn.Parameter(torch.ones(1, 1, 3, 3))), 2),
        (replace, 2),
    ],
    ids=["in place", "loaded", "another parameter", "another module"],
)
def test_predictions_follow_the_weights(operator, record, change, recordings):
    a = fields(1, 1, 5, 5)
    for _ in range(3):
        check(operator, a)
    change(operator)
    record.weights = list(operator.parameters())
    for _ in range(3):
        check(operator, a)
    assert record.made == recordings


def test_hooks_are_called(operator):
    a, seen = fields(1, 1, 5, 5), []
    for _ in range(3):
        operator.predict(a)
    handle = operator.operator.inner.register_forward_hook(lambda *_: seen.append(1))
    for _ in range(3):
        operator.predict(a)
    assert len(seen) == 3
    handle.remove()
    check(operator, a)


def test_every_step_of_a_rollout_is_replayed(operator, record):
    a = fields(1, 1, 5, 5)
    operator.predict(a, steps=3)
    assert torch.equal(operator.predict(a, steps=3), plain(operator, a, 3))
    assert (record.made, record.replayed) == (1, 5)


def test_gradients_and_inference_mode_are_as_before(operator):
    a = fields(1, 1, 5, 5)
    with torch.inference_mode():
        for _ in range(3):
            operator.predict(a)
    check(operator, a)
    operator(a).sum().backward()
    assert all(p.grad is not None for p in operator.parameters())


def test_copies_begin_without_recordings(operator, record):
    a = fields(1, 1, 5, 5)
    for _ in range(3):
        operator.predict(a)
    twin = copy.deepcopy(operator)
    assert not twin.replays.kept
    nn.init.ones_(twin.operator.inner.weight)
    assert torch.equal(plain(twin, a), twin.predict(a))
    operator.replays = Replays(holding)
    assert not pickle.loads(pickle.dumps(operator)).replays.kept


def test_on_a_cpu_nothing_is_recorded():
    operator = NormalizedOperator(OnItsGrid(), Normalizer.identity(1), Normalizer.identity(1))
    operator.replays = Replays(holding)
    for _ in range(3):
        operator.predict(fields(1, 1, 5, 5))
    assert not operator.replays.kept


def test_a_recording_keeps_the_matrices_that_are_forgotten_elsewhere():
    @remembered
    def matrix(n):
        return torch.full((n,), float(n))

    with holding() as constants:
        first = matrix(0)
        resample(torch.zeros(1, 1, 9, 9), (5, 5), "vertices")
    for n in range(1, 200):
        matrix(n)
    assert matrix(0) is not first
    assert any(each is first for each in constants)
    assert len(constants) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("name", ["mano", "fno", "vit", "unet", "swin", "transolver", "ho-fno", "lrsa"])
def test_on_a_gpu_operators_are_recorded_and_predict_what_they_did(name):
    torch.manual_seed(0)
    inner = build_operator(name, 1, 1)
    operator = NormalizedOperator(inner, Normalizer.identity(1), Normalizer.identity(1)).cuda().eval()
    operator.replays = Replays(holding)
    for n in (17, *range(18, 18 + MOST), 17):
        for seed in range(3):
            a = fields(2, 1, n, n, seed=seed).cuda()
            torch.testing.assert_close(operator.predict(a), plain(operator, a), rtol=1e-4, atol=1e-5)
    calls = list(operator.replays.kept.values())
    assert len(calls) == MOST
    assert all(call is not None and call is not operator for call in calls), "each could be recorded"
