"""How times are taken: which tolerance, batch and precision, and when a machine is busy. No time is asserted."""

import json
import math
import os
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid, build_problem, generate
from data_gen.samples import draw
from pdebench_mano import RunConfig, load, train
from pdebench_mano.cli import main
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.evaluate import held_out
from pdebench_mano.evaluation.records import digest, evaluated_on, find_records, read_record
from pdebench_mano.evaluation.timing import (
    Contender,
    Entrant,
    Stopwatch,
    Timing,
    Untrained,
    architecture,
    contenders,
    labels,
    operators,
    read_times,
    solvers,
    stopwatch,
    take,
    throughput,
    write_times,
)
from pdebench_mano.evaluation.timing import precision as precisions
from pdebench_mano.evaluation.timing.stopwatch import is_busy, spread
from pdebench_mano.evaluation.timing.throughput import best_batch
from pdebench_mano.evaluation.timing.tolerances import TOLERANCES, loosest, tolerance
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.machine import load as machine
from pdebench_mano.machine.load import loaded, others
from pdebench_mano.report.worth import worth
from pdebench_mano.training.options import parse_config
from pdebench_mano.training.runs import untrained

MEANS = ("arithmetic", "harmonic", "geometric", "average")
CPU = Stopwatch(torch.device("cpu"), repeats=2)
NAMED = (
    "name kind problem resolution device precision mode rtol batch latency_ms throughput_ms spread repeats busy commit"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a dataset and two runs on it, which differ in precision alone."""
    place = tmp_path_factory.mktemp("place")
    generate(place / "darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25))
    for precision in ("float32", "bfloat16"):
        arguments = {"width": 4}
        options = {"resolution": 9, "epochs": 1, "precision": precision}
        config = RunConfig(operator="unet", operator_args=arguments, data=str(place / "darcy.hdf5"), **options)
        train(config, place / precision, device="cpu")
    return place


@pytest.fixture
def idle(monkeypatch):
    """A machine that is never busy, and repeats that are short."""
    monkeypatch.setattr(stopwatch, "loaded", lambda: False)
    monkeypatch.setattr(stopwatch, "NOISE", math.inf)
    monkeypatch.setattr(stopwatch, "ROUND", 0.0)
    monkeypatch.setattr(throughput, "PASS", 0.0)


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (lambda rtol: 0.02 + rtol, 1e-4),
        (lambda rtol: 0.02 + 1e-3 * rtol, 1e-1),
        (lambda rtol: rtol, 1e-6),
        (lambda rtol: 0.02, 1e-1),
        (lambda rtol: 0.02 if rtol == 1e-1 else 0.02 + rtol, 1e-4),
        (lambda rtol: math.nan if rtol < 1e-4 else 0.02 + rtol / 100, 1e-2),
        (lambda rtol: math.nan if rtol > 1e-3 else 0.02, 1e-3),
        (lambda rtol: math.nan, None),
    ],
    ids=["felt", "hardly felt", "all felt", "direct", "by chance", "not met", "too loose", "never"],
)
def test_the_tolerance_is_the_loosest_that_the_error_does_not_feel(error, expected):
    assert loosest(error) == expected


def test_the_error_that_chooses_is_that_against_the_labels(place):
    (contender, *_) = solvers(Dataset(place / "darcy.hdf5"), [9], CPU)
    a, u = contender.view.batch(range(3))

    def with_known_error(_, rtol):
        return lambda a: u.double() * (1.02 + rtol)

    fake = Contender(contender.about, contender.view, with_known_error, TOLERANCES, 1)
    assert tolerance(fake, a, u) == 1e-4
    never = Contender(contender.about, contender.view, lambda a, rtol: lambda a: math.nan * u, TOLERANCES, 1)
    with pytest.raises(ValueError, match=r"converges to no rtol from 0\.1"):
        tolerance(never, a, u)


def test_the_best_batch_is_found_among_powers_of_two_until_none_fits_or_none_is_faster():
    tried = []

    def floor(size, fits=math.inf):
        tried.append(size)
        return 1e-3 + 0.064 / size if size <= fits else None

    assert best_batch(floor, 1000) == 512
    tried.clear()
    assert best_batch(floor, 2**20) == 8192, "1.008e-3, beside which no other saves a fiftieth"
    assert max(tried) == 2**15, "two that save less end the search, however large they may be"
    assert best_batch(lambda size: floor(size, fits=100), 1000) == 64
    tried.clear()
    assert best_batch(lambda size: floor(size) + 1e-3 * size, 1000) == 8
    assert tried == [1, 2, 4, 8, 16, 32], "two that are slower end the search"
    assert best_batch(floor, 1) == 1


@pytest.mark.parametrize(
    ("seconds", "sizes", "repeats", "batch"),
    [
        (lambda size: 30.0 * size, [1, 1, 1, 1, 2, 2], 1, 1),
        (lambda size: 30.0, [1, 1, 1, 1, 2, 2, 4, 4], 1, 4),
        (lambda size: 1.0 * size, [1] * 9 + [2] * 3 + [4] * 3 + [1] * 4, 2, 1),
        (lambda size: 6.0 if size < 4 else 40.0, [1] * 9 + [2] * 3 + [4] * 2 + [2] * 4, 2, 2),
    ],
    ids=["long", "long, but of any batch", "short", "long in large batches"],
)
def test_what_takes_long_is_called_twice_and_not_in_larger_batches_that_gain_nothing(
    place, monkeypatch, seconds, sizes, repeats, batch
):
    """Every batch was called three times, and the best and single samples seven times: minutes for one row."""
    clock, called = SimpleNamespace(now=0.0), []

    def predict(a):
        clock.now += seconds(len(a))
        called.append(len(a))

    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    (found,) = labels(Dataset(place / "darcy.hdf5"), CPU)
    timing = throughput.measure(Contender(found.about, found.view, lambda a, rtol: predict, (), 4), CPU)
    assert called == sizes
    assert (timing.repeats, timing.batch) == (repeats, batch)
    assert (timing.latency_ms, timing.throughput_ms) == (1e3 * seconds(1), 1e3 * seconds(batch) / batch)


@given(st.floats(1e-3, 1e3), st.integers(1, 50))
def test_the_spread_of_an_arithmetic_progression_is_four_fifths_of_its_range(first, steps):
    times = first * (1 + np.arange(10 * steps + 1) / (10 * steps))
    assert spread(times.tolist()) == pytest.approx(0.8 / 1.5)


def test_a_machine_is_busy_by_its_load_its_gpu_or_the_spread(monkeypatch):
    cases = [(cores, gpu, wide) for cores in (False, True) for gpu in (False, True) for wide in (0.05, 0.2)]
    assert [is_busy(*case) for case in cases] == [False] + 7 * [True]
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for minute, expected in ((1.9, False), (2.1, True)):
        monkeypatch.setattr(os, "getloadavg", lambda minute=minute: (minute, 99.0, 99.0))
        assert loaded() is expected
    assert not machine.shared(torch.device("cpu"))


def test_a_process_on_the_gpu_that_is_not_this_one_is_seen_even_from_a_container():
    assert not others(set(), 7)
    assert not others({7}, 7)
    assert others({7, 8}, 7)
    assert not others({4321}, 7), "in a container the driver knows this process by another number"
    assert others({4321, 4322}, 7)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_operator_computes_in_the_precision_that_it_was_trained_in(place, precision, monkeypatch):
    """As long as its error does not feel it: with no patience for that, it computes in float32."""
    data = Dataset(place / "darcy.hdf5")
    with monkeypatch.context() as patch:
        patch.setattr(precisions, "FELT", 0.0)
        (exact,) = operators([Entrant("unet", place / precision, [9])], data, CPU)
        assert exact.about.precision == "float32"
    (contender,) = operators([Entrant("unet", place / precision, [9])], data, CPU)
    assert (contender.about.precision, contender.about.mode) == (precision, "eager")
    a, _ = contender.view.batch(range(3))
    operator = load(place / precision, device="cpu")
    single = operator.predict(a)
    with torch.autocast("cpu", torch.bfloat16):
        half = operator.predict(a)
    assert not torch.equal(single, half)
    assert torch.equal(contender.ready(a, None)(a), half if precision == "bfloat16" else single)


def test_what_was_trained_in_float32_is_timed_in_float16_too_where_a_gpu_does_and_its_error_does_not_feel_it(
    place, monkeypatch
):
    """Not everything is faster in it: of an FNO the transforms stay as they are, and casts are added."""
    assert precisions.halves("float32", torch.device("cuda")) == ["float16"]
    assert precisions.halves("float32", torch.device("cpu")) == []
    data, configuration = Dataset(place / "darcy.hdf5"), json.loads((place / "float32" / "config.json").read_text())
    with monkeypatch.context() as patch:
        for module in (precisions, contenders):
            patch.setattr(module, "halves", lambda trained_in, device: ["float16"])
        half, single = operators([Entrant("unet", place / "float32", [9])], data, CPU)
        stands = list(operators([Entrant("unet", Untrained(configuration, {9: "float16"}), [9])], data, CPU))
        patch.setattr(precisions, "FELT", 0.0)
        (felt,) = operators([Entrant("unet", place / "float32", [9])], data, CPU)
    assert [half.about, single.about] == [each.about for each in stands]
    assert [each.about.precision for each in (half, single, felt)] == ["float16", "float32", "float32"]
    (elsewhere,) = operators([Entrant("unet", Untrained(configuration, {9: "float16"}), [9])], data, CPU)
    assert elsewhere.about.precision == "float32", "what a GPU does in half the precision, this CPU does not"
    a, _ = half.view.batch(range(3))
    expected = load(place / "float32", device="cpu").predict(a)
    assert torch.equal(single.ready(a, None)(a), expected)
    rounded = half.ready(a, None)(a)
    assert not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, rtol=0.02, atol=0.02 * expected.abs().max().item())


@pytest.mark.parametrize("wrong", [RuntimeError("expected scalar type Float but found Half"), float("nan")])
def test_an_operator_that_cannot_compute_in_float16_is_evaluated_all_the_same(place, monkeypatch, wrong):
    monkeypatch.setattr(precisions, "halves", lambda trained_in, device: ["float16"])
    (view,) = held_out(Dataset(place / "darcy.hdf5"), [9])
    operator = load(place / "float32", device="cpu")
    exact = operator.predict

    def predict(a):
        if torch.is_autocast_enabled("cpu"):
            if isinstance(wrong, Exception):
                raise wrong
            return exact(a) * wrong
        return exact(a)

    assert precisions.precision_of(operator, "float32", view, torch.device("cpu")) == "float16"
    monkeypatch.setattr(operator, "predict", predict)
    assert precisions.precision_of(operator, "float32", view, torch.device("cpu")) == "float32"


def test_compiled_operators_stay_compiled_in_batches_of_any_size_on_every_grid(place, monkeypatch):
    """After eight programs the compiler goes on without, and says so in a warning alone."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # no compiler sees through these checks
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda operator: compiled(operator, backend="eager"))
    for module in (precisions, contenders):
        monkeypatch.setattr(module, "halves", lambda trained_in, device: ["float16"])
    data, configuration = Dataset(place / "darcy.hdf5"), json.loads((place / "float32" / "config.json").read_text())
    configuration["config"]["compile"] = True
    entrant = Entrant("unet", Untrained(configuration, {9: "float16", 17: "float16"}), [9, 17])
    compiler, timed = torch._dynamo.config, []
    with compiler.patch(recompile_limit=compiler.recompile_limit, fail_on_recompile_limit_hit=True):
        for each in operators([entrant], data, CPU):
            (single, _), (several, _) = each.view.batch([0]), each.view.batch([0, 1, 2])
            alone = each.ready(single, None)(single)
            for batch in (several, several.repeat(2, 1, 1, 1), several.repeat(11, 1, 1, 1)):
                torch.testing.assert_close(each.ready(batch, None)(batch)[:1], alone, rtol=0.01, atol=0.01)
            timed.append((each.about.resolution, each.about.precision, each.about.mode))
    assert timed == [(n, precision, "compiled") for n in (9, 17) for precision in ("float16", "float32")]


def test_float16_stands_in_where_more_digits_are_needed_than_bfloat16_has(place, monkeypatch):
    (view,) = held_out(Dataset(place / "darcy.hdf5"), [9])
    operator = load(place / "bfloat16", device="cpu")
    monkeypatch.setattr(precisions, "halves", lambda trained_in, device: ["bfloat16", "float16"])
    changes = {}
    for half in ("bfloat16", "float16"):
        errors = {
            precision: sum(
                relative_l2(precisions.predict_in(precision, operator, a), u).item()
                for a, u in (view.batch([i]) for i in range(min(8, len(view))))
            )
            for precision in ("float32", half)
        }
        changes[half] = abs(errors[half] - errors["float32"]) / errors["float32"]
    assert changes["float16"] < changes["bfloat16"]
    monkeypatch.setattr(precisions, "FELT", (changes["float16"] * changes["bfloat16"]) ** 0.5)
    assert precisions.precision_of(operator, "bfloat16", view, torch.device("cpu")) == "float16"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_stands_for_a_run_without_weights_is_what_its_training_began_with(place, precision):
    data, configuration = Dataset(place / "darcy.hdf5"), json.loads((place / precision / "config.json").read_text())
    (trained,) = operators([Entrant("unet", place / precision, [9])], data, CPU)
    before = torch.get_rng_state()
    (known,) = operators([Entrant("unet", Untrained(configuration, {9: precision}), [9])], data, CPU)
    (unknown,) = operators([Entrant("unet", Untrained(configuration), [9])], data, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert known.about == trained.about
    assert unknown.about == trained.about._replace(precision="float32")
    a, _ = known.view.batch(range(3))
    with torch.random.fork_rng(devices=[]):
        operator = untrained(parse_config(configuration["config"]), data.view("test", 9))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        expected = operator.predict(a)
    assert torch.equal(known.ready(a, None)(a), expected)


def test_numbers_too_small_for_a_float_do_not_slow_an_untrained_operator(place):
    """Fields of an untrained chain are halved at every layer; a CPU takes twice as long for what is left of them."""
    data, configuration = Dataset(place / "darcy.hdf5"), json.loads((place / "float32" / "config.json").read_text())
    deep = {"operator": "orthogonal-fno", "operator_args": {"width": 4, "modes": 2, "depth": 150}}
    configuration["config"] |= deep
    (view,) = held_out(data, [9])
    a, _ = view.batch([0])

    def subnormal(operator):
        states = []
        for layer in operator.operator.children():
            for each in layer.modules():
                each.register_forward_hook(lambda module, given, z: states.append(z))
        operator.predict(a)
        tiny = torch.finfo(torch.float32).tiny
        return any(bool(((z != 0) & (z.abs() < tiny)).any()) for z in states if torch.is_tensor(z))

    with torch.random.fork_rng(devices=[]):
        assert subnormal(untrained(parse_config(configuration["config"]), view))
    assert not subnormal(contenders._operator(Entrant("deep", Untrained(configuration), [9]), data))
    assert torch.tensor(1e-40) * 1.0 != 0, "elsewhere they are what they are"


def test_a_record_runs_no_code_that_nobody_has_named(place):
    data, configuration = Dataset(place / "darcy.hdf5"), json.loads((place / "float32" / "config.json").read_text())
    configuration["config"]["operator"] = "somebody.py:Operator"
    with pytest.raises(ValueError, match="unet names code of its own, operator 'somebody"):
        next(operators([Entrant("unet", Untrained(configuration), [9])], data, CPU))


def test_a_recorded_operator_predicts_for_what_is_copied_into_its_recording(place, monkeypatch):
    """Replayed by calling the step again, as a graph would: what it reads are the inputs that it was recorded with."""
    monkeypatch.setattr(contenders, "recorded", lambda step: step)
    data = Dataset(place / "darcy.hdf5")
    (contender,) = operators([Entrant("unet", place / "float32", [9])], data, CPU)
    operator = load(place / "float32", device="cpu")
    a, _ = contender.view.batch(range(3))
    replay = contenders._predicting(operator, "float32", "cuda graph")(a[:1], None)
    for single in a.split(1):
        assert torch.equal(replay(single), operator.predict(single))


def test_the_labels_are_solved_for_on_their_grid_to_their_tolerance(place):
    (contender,) = labels(Dataset(place / "darcy.hdf5"), CPU)
    a, u = contender.view.batch(range(3))
    assert (contender.about.resolution, tolerance(contender, a, u)) == (17, 1e-10)
    torch.testing.assert_close(contender.ready(a, 1e-10)(a).float(), u)


def test_what_makes_an_operator_fast_is_not_its_weights(place):
    one, two = (json.loads((place / name / "config.json").read_text()) for name in ("float32", "bfloat16"))

    def changed(**config):
        return architecture(one | {"config": one["config"] | config})

    assert changed(seed=5, lr=0.1, epochs=99, data="elsewhere") == architecture(one)
    old = {key: value for key, value in one["config"].items() if key not in ("precision", "compile")}
    assert architecture(one | {"config": old}) == architecture(one), (
        "what an earlier version did not say is the default"
    )
    others = [architecture(two), changed(operator="fno"), changed(operator_args={}), changed(compile=True)]
    assert len({architecture(one), *others}) == 5


def test_the_command_says_what_it_timed_one_object_a_line_and_times_nothing_twice(place, idle, capsys, monkeypatch):
    out, runs = place / "times", [place / "float32", place / "bfloat16"]
    words = ["time", *runs, "--data", place / "darcy.hdf5", "--resolutions", "9,17", "--repeats", 2, "--device", "cpu"]
    words += ["--rivals", "--out", out, "--json"]
    assert command(*words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["name"], row["kind"], row["resolution"]) for row in rows] == [
        *((f"unet ({run})", "operator", n) for run in runs for n in (9, 17)),
        *((f"solver, {mean}", "solver", n) for mean in MEANS for n in (9, 17)),  # the refined one is too fine
        ("labels", "labels", 17),
    ]
    assert (
        list(rows[0]) == [*NAMED.split(), "architecture", "dataset", "steps"] == [each.name for each in fields(Timing)]
    )
    assert all(row["latency_ms"] > 0 < row["throughput_ms"] and row["repeats"] == 2 for row in rows)
    for row in rows:
        solved = row["kind"] != "operator"
        assert (row["rtol"] is not None, row["architecture"] == "", row["batch"] == 1 or not solved) == (
            solved,
            solved,
            True,
        )
    assert [json.loads(line) for line in (out / "times.jsonl").read_text().splitlines()] == rows
    with monkeypatch.context() as patched:
        patched.setattr(throughput, "measure", None)
        assert command(*words) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows


@pytest.mark.parametrize("change", [{"busy": True}, {"commit": "another"}, {"repeats": 1}])
def test_a_time_that_does_not_stand_is_taken_again_and_replaced(place, tmp_path, idle, monkeypatch, change):
    data = Dataset(place / "darcy.hdf5")
    (first,) = take(labels(data, CPU), CPU, tmp_path)
    other = Timing(**first.__dict__ | {"name": "solver, other"})
    write_times([Timing(**first.__dict__ | change), other], tmp_path)
    monkeypatch.setattr(throughput, "measure", lambda contender, watch: first)
    assert list(take(labels(data, CPU), CPU, tmp_path)) == [first]
    assert read_times(tmp_path) == [other, first]


@pytest.mark.parametrize(
    ("again", "kept"),
    [
        ({"busy": True, "spread": 0.3}, False),
        ({"busy": True, "spread": 0.1}, True),
        ({"busy": False, "spread": 0.25}, True),
    ],
)
def test_of_times_of_a_busy_machine_the_steadier_stays(place, tmp_path, idle, monkeypatch, again, kept):
    data = Dataset(place / "darcy.hdf5")
    (first,) = take(labels(data, CPU), CPU, tmp_path)
    before, after = replace(first, busy=True, spread=0.2), replace(first, **again)
    write_times([before], tmp_path)
    monkeypatch.setattr(throughput, "measure", lambda contender, watch: after)
    assert list(take(labels(data, CPU), CPU, tmp_path)) == read_times(tmp_path) == [after if kept else before]


def test_a_time_that_is_too_long_to_be_repeated_stands(place, tmp_path, idle, monkeypatch):
    data = Dataset(place / "darcy.hdf5")
    (first,) = take(labels(data, CPU), CPU, tmp_path)
    long = replace(first, repeats=1, throughput_ms=2e4)
    write_times([long], tmp_path)
    monkeypatch.setattr(throughput, "measure", None)
    assert list(take(labels(data, CPU), CPU, tmp_path)) == [long]


def test_what_cannot_be_timed_is_said_and_left_out(place, tmp_path, idle, monkeypatch):
    def too_large(contender, watch):
        raise torch.OutOfMemoryError("out of memory\nand more")

    monkeypatch.setattr(throughput, "measure", too_large)
    said = []
    assert list(take(labels(Dataset(place / "darcy.hdf5"), CPU), CPU, tmp_path, said.append)) == []
    assert said == ["labels at 17², eager", "    not timed: out of memory"]
    assert not (tmp_path / "times.jsonl").exists()


def test_labels_of_a_finer_grid_are_solved_for_there(tmp_path):
    generate(tmp_path / "d.hdf5", 4, 9, mean="auto", split=(0, 0, 1), label_refinement=2)
    (contender,) = labels(Dataset(tmp_path / "d.hdf5"), CPU)
    assert (contender.about.resolution, len(contender.view)) == (17, 4)
    a, _ = contender.view.batch(range(2))
    problem = build_problem("darcy", mean="geometric")
    found = contender.ready(a, 1e-10)(a)
    for i in range(2):
        drawn = draw(problem, Grid((17, 17)), 0, i)
        np.testing.assert_allclose(found[i], problem.solve(drawn, Grid((17, 17))).u[0], rtol=1e-6, atol=1e-12)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """A folder with trajectories of a viscous flow, and an operator of one of its steps."""
    flow = tmp_path_factory.mktemp("flow")
    arguments = {"viscosity": 1e-2, "times": (0.5, 1.0, 1.5)}
    generate(flow / "flow.hdf5", 6, 16, problem="navier-stokes", problem_args=arguments, split=(0.5, 0.25, 0.25))
    config = RunConfig(
        operator="fno",
        operator_args={"width": 4, "modes": 4, "depth": 1},
        data=str(flow / "flow.hdf5"),
        pairs="step",
        epochs=1,
    )
    train(config, flow / "run", device="cpu")
    return flow


@pytest.mark.parametrize(("start", "steps"), [(None, 3), (0.5, 2)])
def test_an_operator_of_steps_and_solvers_are_timed_over_what_errors_are_of(flow, start, steps):
    """One step stood beside a solver that goes all the way."""
    data = Dataset(flow / "flow.hdf5")
    (operator,) = operators([Entrant("fno", flow / "run", [16])], data, CPU, start)
    configuration = json.loads((flow / "run" / "config.json").read_text())
    (standing,) = operators([Entrant("fno", Untrained(configuration), [16])], data, CPU, start)
    assert standing.about == operator.about
    several = [*solvers(data, [8, 16], CPU, start or 0.0)]
    (label,) = labels(data, CPU, start or 0.0)
    record = read_record(assess(flow / "run", data, [16], start=start))
    assert {each.about.dataset for each in (operator, label, *several)} == {digest(evaluated_on(record))}
    assert {each.about.steps for each in (operator, *several)} == {steps}
    assert label.about.steps == 3, "labels are made from the beginning"
    assert {each.about.precision for each in several} == {"float32"}
    assert label.about.precision == "float64"
    rows = {row.model: row.errors["relative_l2"][0] for row in record.evaluations}
    for each in (operator, *(solver for solver in several if solver.about.resolution == 16)):
        a, u = each.view.batch([0])
        error = relative_l2(each.ready(a, 1e-6)(a).float(), u, "periodic").item()
        assert error == pytest.approx(rows[each.about.name], rel=1e-3)


def test_a_suite_of_rollouts_is_worth_what_its_rollouts_take(flow, idle, capsys):
    """Times were of other samples than the records, which are of states at some times: nothing was said of worth."""
    words = ["--data", flow / "flow.hdf5", "--resolutions", "16", "--start", 0.5, "--out", flow / "run", "--json"]
    assess(flow / "run", flow / "flow.hdf5", [16], start=0.5)
    assert command("time", flow / "run", "--rivals", "--repeats", 2, "--device", "cpu", *words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["kind"], row["steps"]) for row in rows] == [
        ("operator", 2),
        ("solver", 2),
        ("solver", 2),
        ("labels", 3),
    ]
    records = [read_record(path) for path in find_records(flow / "run")]
    (found,) = worth(records, read_times(flow / "run"))
    assert (found.resolution, found.operator_ms) == (16, rows[0]["throughput_ms"])


def test_what_has_no_interval_in_common_is_not_timed_together(flow, place, capsys):
    words = ["--data", flow / "flow.hdf5", "--resolutions", "16", "--out", flow / "none"]
    assert command("time", flow / "run", place / "float32", *words) == 2
    assert "time them one after another" in capsys.readouterr().err
    assert command("time", flow / "run", *words, "--start", 0.7) == 2
    assert "start must be a time of" in capsys.readouterr().err
    assert command("time", place / "float32", *words[:1], place / "darcy.hdf5", *words[2:], "--start", 0.5) == 2
    assert "needs an operator trained with pairs='step'" in capsys.readouterr().err
