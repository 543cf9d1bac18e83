"""What an operator is worth: closed forms on made-up records and times, and why there is no number."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench_mano.evaluation.records import Evaluation, Record, Spectra, digest, evaluated_on
from pdebench_mano.evaluation.timing import Timing, architecture, write_times
from pdebench_mano.report import worth as value
from pdebench_mano.report.plane import Point, front, time_at
from pdebench_mano.report.worth import break_even, chosen_rival, with_times, worth, write_worth

GPU = "Some GPU"
NAMED = (
    "suite model resolution device operator_error operator_ms rival rival_ms ratio labels_s training_s tuning_s "
    "break_even break_even_with_tuning"
)
RECIPE = {
    "law": "piecewise",
    "law_args": {},
    "source": 1.0,
    "mean": "arithmetic",
    "method": "auto",
    "shape": [421, 421],
}
DATASET = {
    "digest": "d",
    "schema": "pdebench-mano/darcy",
    "recipe": json.dumps(RECIPE | {"samples": 1300, "split": [10 / 13, 1 / 13, 2 / 13]}),
}
CONFIGURATION = {
    "config": {"operator": "fno", "operator_args": {"width": 8}},
    "data": {"digest": "d", "resolution": 85, "channels": [1, 1]},
}
TRIALS = {"trials": [{"configuration": {"lr": lr}, "validation": lr, "seconds": 50.0} for lr in (1e-3, 1e-2)]}


def row(model, resolution, error, computed_at=None, kind="operator"):
    errors = {"relative_l2": [0.5 * error, 1.5 * error]}
    return Evaluation(model, resolution, computed_at or resolution, errors, Spectra([1.0], [1.0], [0.0]), kind=kind)


def record(rows, training=None, **changes):
    """A record of a model; with ``model="baselines"`` and no configuration, of references."""
    told = {"seconds": 200.0, **TRIALS} if training is None else training
    whole = {
        "key": "k",
        "model": "fno",
        "seed": 0,
        "budget": "60 epochs",
        "configuration": CONFIGURATION,
        "training": told,
        "history": [],
        "dataset": DATASET,
        "samples": [1200, 1201],
        "evaluations": rows,
        "commands": [],
        "environment": {"device": GPU},
    }
    return Record(**whole | changes)


def references(solvers, training=None):
    """Rows of solvers, {name: {grid: error}}, each at its own grid and at 421²."""
    rows = [
        row(name, n, error, grid, "solver")
        for name, grids in solvers.items()
        for grid, error in grids.items()
        for n in (grid, 421)
    ]
    return record(rows, training or {}, model="baselines", budget="", configuration={})


GROUND = digest(evaluated_on(record([])))


def times(name, kind, grids, device=GPU, made="", mode="eager"):
    """Throughputs, {grid: ms}, and latencies that are no one's business here."""
    about = {"problem": "darcy", "precision": "float32", "rtol": None, "batch": 8, "latency_ms": 99.0, "spread": 0.0}
    about |= {"repeats": 5, "busy": False, "commit": "c", "dataset": GROUND, "mode": mode, "architecture": made}
    return [
        Timing(name=name, kind=kind, resolution=n, device=device, throughput_ms=ms, **about) for n, ms in grids.items()
    ]


FNO = times("fno", "operator", {85: 0.4, 421: 4.0}, made=architecture(CONFIGURATION))
GRAPH = times("fno", "operator", {85: 0.2}, made=architecture(CONFIGURATION), mode="cuda graph")
LABELS = times("labels", "labels", {421: 2.0})
SOLVED = {43: 0.02, 85: 0.01, 169: 0.005}
"""First order, at a time that grows as the number of points: error 0.01 · 84/(n-1), time (n-1)²/84²."""
TOOK = {43: 0.25, 85: 1.0, 169: 4.0}


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.2, 4), st.floats(0.5, 5), st.floats(0, 1))
def test_between_grids_the_time_is_that_of_the_power_law_that_they_are_on(c, k, order, cost, place):
    """Error c h^order and time k h^-cost: after k (c/error)^(cost/order) the error is reached, whatever the grids."""
    grids = (11, 21, 41, 101)
    points = [Point("solver", n, c * (n - 1.0) ** -order, k * (n - 1.0) ** cost) for n in grids]
    low, high = points[-1].error, points[0].error
    error = min(high, max(low, low * (high / low) ** place))
    found, reason = time_at(error, points)
    assert reason == ""
    assert found == pytest.approx(k * (c / error) ** (cost / order), rel=1e-6)


def test_beyond_the_grids_nothing_is_said_but_which_grid_is_missing():
    points = [Point("solver", n, error, TOOK[n]) for n, error in SOLVED.items()]
    for error, reason in [
        (0.021, "a grid coarser than 43² is missing: the solver's error is 0.02 there"),
        (0.0049, "a grid finer than 169² is missing: the solver's error is 0.005 there"),
        (math.nan, "a grid coarser than 43² is missing: the solver's error is 0.02 there"),
    ]:
        assert time_at(error, points) == (None, reason)
    assert time_at(0.01, []) == (None, "no grid has both an error and a time of the solver")
    assert [time_at(error, points)[0] for error in (0.02, 0.01, 0.005)] == pytest.approx([0.25, 1.0, 4.0])
    assert time_at(0.02, points[:1]) == (0.25, "")


def test_a_solver_that_is_ahead_on_its_coarsest_grid_is_never_paid_off():
    """The error of 0.03 that fno has needs a grid coarser than 43², where the solver is faster already."""
    solver = times("solver, arithmetic", "solver", TOOK)
    own = [record([row("fno", 421, 0.03)]), references({"coarse solver": SOLVED})]
    (found,) = worth(own, [*FNO, *LABELS, *solver])
    assert (found.ratio, found.break_even) == (None, None)
    assert found.reason == "never: the solver at 43² has 0.02 in 0.25 ms"
    fast = times("fno", "operator", {421: 0.2}, made=architecture(CONFIGURATION))
    (found,) = worth(own, [*fast, *LABELS, *solver])
    assert found.reason == "a grid coarser than 43² is missing: the solver's error is 0.02 there"


def test_an_error_that_rises_on_a_finer_grid_is_passed_at_the_first_grid_that_is_as_good():
    points = [Point("solver", 10, 0.4, 1.0), Point("solver", 20, 0.1, 4.0), Point("solver", 30, 0.2, 9.0)]
    points.append(Point("solver", 40, 0.05, 16.0))
    assert time_at(0.2, points)[0] == pytest.approx(2.0)
    assert time_at(0.1, points)[0] == pytest.approx(4.0)
    assert 9 < time_at(0.07, points)[0] < 16


def test_a_cost_is_paid_after_so_many_predictions():
    assert break_even(400.0, 0.2, 1.0) == 500_000
    assert break_even(0.0015, 1.0, 2.0) == 2, "the second prediction pays for the rest of it"
    assert break_even(0.0, 1.0, 2.0) == 0
    assert break_even(1.0, 2.0, 2.0) is None
    assert break_even(1.0, 2.0, 1.0) is None
    assert break_even(None, 1.0, 2.0) is None
    assert break_even(1.0, 1.0, None) is None


def test_labels_training_and_tuning_are_paid_for_by_what_a_prediction_saves():
    """At 85² an error of .01 takes the solver 1 ms; 1000 labels are 2 s, training 202 s, its trials 100 s."""
    own = [record([row("fno", 85, 0.01 - error)], seed=seed) for seed, error in enumerate((-0.001, 0.001))]
    own[1] = dataclasses.replace(own[1], training=own[1].training | {"seconds": 204.0})
    solver = times("solver, arithmetic", "solver", TOOK)
    (found,) = worth([*own, references({"coarse solver": SOLVED})], [*FNO, *GRAPH, *LABELS, *solver], "suite")
    assert [field.name for field in dataclasses.fields(found) if field.name in NAMED.split()] == NAMED.split()
    assert (found.suite, found.model, found.resolution, found.device) == ("suite", "fno", 85, GPU)
    assert (found.operator_error, found.operator_ms) == (pytest.approx(0.01), 0.2), "the faster mode counts"
    assert (found.rival, found.rival_ms, found.ratio) == ("coarse solver", pytest.approx(1.0), pytest.approx(5.0))
    assert (found.labels_s, found.training_s, found.tuning_s) == (2.0, 202.0, 100.0)
    assert (found.break_even, found.break_even_with_tuning) == (math.ceil(204 / 0.8e-3), math.ceil(304 / 0.8e-3))
    assert found.reason == ""
    (shown,) = value.cells([found]).to_dict("records")
    assert (shown["break-even"], shown["with tuning"], shown["ratio"]) == ("255,000", "380,000", "5")


def found_with(own=None, solvers=None, timed=None, training=None):
    """What fno is worth at 85², one thing changed."""
    rows = references(solvers or {"coarse solver": SOLVED}, training)
    there = [*FNO, *LABELS, *times("solver, arithmetic", "solver", TOOK)] if timed is None else timed
    return worth([own or record([row("fno", 85, 0.01)]), rows], there)


def test_where_there_is_no_number_the_reason_says_why():
    (found,) = found_with(timed=[*FNO, *LABELS, *times("solver, arithmetic", "solver", {43: 0.1, 85: 0.3})])
    assert (found.rival_ms, found.break_even) == (pytest.approx(0.3), None)
    assert found.reason == "never: the solver is as fast"
    (found,) = found_with(own=record([row("fno", 85, 0.001)]))
    assert (found.rival, found.rival_ms, found.ratio, found.break_even) == ("coarse solver", None, None, None)
    assert found.reason.startswith("a grid finer than 169² is missing")
    (found,) = found_with(timed=[*FNO, *times("solver, arithmetic", "solver", TOOK)])
    assert (found.rival_ms, found.labels_s, found.break_even) == (pytest.approx(1.0), None, None)
    assert found.reason == "the making of labels was not timed"
    (found,) = found_with(
        timed=[*FNO, *times("solver, arithmetic", "solver", {n: 0.01 * ms for n, ms in TOOK.items()})]
    )
    assert found.reason == "never: the solver is as fast", "whatever it costs"
    (found,) = found_with(own=record([row("fno", 85, 0.01)], environment={"device": "Another GPU"}))
    assert (found.training_s, found.break_even, found.reason) == (None, None, "it was trained on Another GPU")
    (found,) = found_with(own=record([row("fno", 85, 0.01)], {"seconds": 200.0, "trials": []}))
    assert found.break_even == math.ceil(202 / 0.6e-3)
    assert (found.break_even_with_tuning, found.reason) == (None, "the seconds of its trials are not recorded")
    elsewhere = CONFIGURATION | {"data": CONFIGURATION["data"] | {"digest": "other"}}
    (found,) = found_with(own=record([row("fno", 85, 0.01)], configuration=elsewhere))
    assert (found.labels_s, found.reason) == (None, "the number of training samples is not recorded")
    (found,) = found_with(
        own=record([row("fno", 85, 0.01)], {"seconds": 200.0, "samples": 500, **TRIALS}, configuration=elsewhere)
    )
    assert found.labels_s == 1.0


def test_the_rival_is_the_scheme_that_validation_chose_at_the_training_resolution():
    trials = [("arithmetic", 85, 0.06), ("harmonic", 85, 0.0155), ("arithmetic", 141, 0.001)]
    told = {
        "trials": [{"configuration": {"solver": s, "resolution": n}, "validation": e} for s, n, e in trials],
    }
    solvers = {"solver, arithmetic": {n: 5 * e for n, e in SOLVED.items()}, "solver, harmonic": SOLVED}
    timed = [*FNO, *LABELS, *times("solver, harmonic", "solver", TOOK)]
    timed += times("solver, arithmetic", "solver", {n: 0.1 * ms for n, ms in TOOK.items()})
    (found,) = found_with(solvers=solvers, timed=timed, training=told)
    assert (found.rival, found.rival_ms) == ("solver, harmonic", pytest.approx(1.0))
    (found,) = found_with(solvers=solvers, timed=timed)
    assert (found.rival, found.reason) == (None, "no solver was chosen by validation")
    assert chosen_rival([references({}, told)], 43) == (None, "no solver was validated at 43²")
    assert chosen_rival([references({"solver": SOLVED})], 43) == ("solver", "")
    assert chosen_rival([references({})], 43) == (None, "no solver stands beside it")
    nameless = {"trials": [{"configuration": {"solver": "", "resolution": 85}, "validation": 0.1}]}
    assert chosen_rival([references({}, nameless)], 85) == ("solver", "")


def test_the_rival_is_the_first_to_have_the_operators_error_on_validation_samples():
    """Arithmetic means err a fourth more on each grid here, in a third of the time: .01 takes 1.25²/3 of it."""
    worse = {n: 1.25 * e for n, e in SOLVED.items()}
    solvers = {"solver, arithmetic": worse, "solver, harmonic": SOLVED}
    timed = [*FNO, *LABELS, *times("solver, harmonic", "solver", TOOK)]
    timed += times("solver, arithmetic", "solver", {n: ms / 3 for n, ms in TOOK.items()})

    def trials(**validated):
        return {
            "trials": [
                {"configuration": {"solver": name, "resolution": n}, "validation": e}
                for name, errors in validated.items()
                for n, e in errors.items()
            ]
        }

    (found,) = found_with(solvers=solvers, timed=timed, training=trials(arithmetic=worse, harmonic=SOLVED))
    assert (found.rival, found.rival_ms) == ("solver, arithmetic", pytest.approx(1.25**2 / 3))
    far = {n: 4 * e for n, e in SOLVED.items()}
    (found,) = found_with(solvers=solvers, timed=timed, training=trials(arithmetic=far, harmonic=SOLVED))
    assert (found.rival, found.rival_ms) == ("solver, harmonic", pytest.approx(1.0)), "test samples choose nothing"
    ahead = {n: 0.3 * e for n, e in SOLVED.items()}
    (found,) = found_with(solvers=solvers, timed=timed, training=trials(arithmetic=far, harmonic=ahead))
    assert found.rival == "solver, harmonic", "ahead on its coarsest grid, it needs no other"
    apart = [row for row in timed if row.name != "solver, arithmetic"]
    (found,) = found_with(solvers=solvers, timed=apart, training=trials(arithmetic=worse, harmonic=SOLVED))
    assert found.rival == "solver, harmonic", "what was not timed is no rival in time"


def test_devices_and_samples_are_never_mixed():
    cpu = times("fno", "operator", {85: 40.0}, device="CPU, one core", made=architecture(CONFIGURATION))
    slow = times("solver, arithmetic", "solver", {n: 80 * ms for n, ms in TOOK.items()}, device="CPU, one core")
    fast = [*FNO, *LABELS, *times("solver, arithmetic", "solver", TOOK)]
    one, two = found_with(timed=[*fast, *cpu, *slow])
    assert [(each.device, each.rival_ms) for each in (one, two)] == [(GPU, 1.0), ("CPU, one core", 80.0)]
    assert two.reason == f"the making of labels was not timed; it was trained on {GPU}"
    assert found_with(timed=[dataclasses.replace(each, dataset="other") for each in fast]) == []


def test_a_record_without_times_of_its_own_shows_those_of_its_device():
    rows = [row("fno", 85, 0.01), row("upsampled fno", 421, 0.01, 85, "upsampled"), row("fno", 421, 0.01)]
    rows += [row("coarse solver", 421, 0.02, 43, "solver"), row("mean solution", 85, 0.3, 85, "mean")]
    own = dataclasses.replace(rows[2], seconds=7.0)
    there = [*FNO, *GRAPH, *times("solver, arithmetic", "solver", TOOK)]
    seconds = [each.seconds for each in with_times(record([*rows[:2], own, *rows[3:]]), there).evaluations]
    assert seconds == [0.0002, 0.0002, 7.0, 0.00025, None]
    elsewhere = record(rows, environment={"device": "x86_64"}, cpu="CPU")
    assert {each.seconds for each in with_times(elsewhere, there).evaluations} == {None}
    core = times("fno", "operator", {85: 40.0}, device="CPU, one core", made=architecture(CONFIGURATION))
    assert with_times(elsewhere, [*there, *core]).evaluations[0].seconds == 0.04


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=12))
def test_the_front_is_what_no_other_point_beats(pairs):
    points = [Point("", 0, error, ms) for error, ms in pairs]

    def beaten(point):
        return any(p != point and p.error <= point.error and p.ms <= point.ms for p in points)

    assert set(front(points)) == {point for point in points if not beaten(point)}
    assert [point.ms for point in front(points)] == sorted({point.ms for point in front(points)})


def test_the_file_is_json_with_one_object_a_line_and_the_times_beside_records_are_found(tmp_path):
    found = found_with()
    write_worth(found, tmp_path / "suite" / "worth.json")
    text = (tmp_path / "suite" / "worth.json").read_text()
    assert json.loads(text) == [dataclasses.asdict(each) for each in found]
    assert len(text.splitlines()) == len(found) + 2
    write_times(FNO, tmp_path / "run")
    write_times(LABELS, tmp_path / "report")
    paths = [tmp_path / "run" / "records" / f"{name}.jsonl" for name in "ab"]
    assert value.beside(paths, tmp_path / "report") == [*FNO, *LABELS]
    assert value.beside(paths, Path(tmp_path / "run")) == FNO
