"""The report, made by the demo: numbers that are those of the records, and a page that stands alone."""

import base64
import dataclasses
import html
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pdebench_mano.cli import main
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.evaluation.records import device_of, find_records, read_record, slug
from pdebench_mano.evaluation.timing import Timing, architecture, write_times
from pdebench_mano.report import naming, tables, write_report
from pdebench_mano.report.figures import Styles, alignment, plane
from pdebench_mano.report.plane import Point
from pdebench_mano.training.runs import load

TABLE = pd.DataFrame({"model": ["fno", "mano"], "group": "operator", "resolution": 85, "relative_l2": [0.02, 0.01]})
TABLE["computed_at"], TABLE["of"] = 85, TABLE["model"]


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a finished ``demo --quick``."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    assert command("demo", "--quick", "--out", out) == 0
    return out


def test_the_demo_ends_with_its_table_and_the_place_of_its_report(demo, capsys, monkeypatch):
    monkeypatch.setattr("pdebench_mano.benchmark.cases.train", None)
    assert command("demo", "--quick", "--out", demo) == 0
    printed = capsys.readouterr().out
    assert f"report: {demo / 'report.html'}" in printed.replace("\n", "")
    for name in ("fno", "upsampled fno", "mano", "upsampled mano", "coarse solver at 9²", "mean solution"):
        assert f" {name} " in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80


def test_tables_hold_the_means_of_the_records(demo):
    rows = pd.read_csv(demo / "tables" / "rows.csv")
    assert len(rows) == 6 + 4 + 6
    for path in find_records(demo):
        for row in (record := read_record(path)).evaluations:
            name = tables.label(row, record)
            (line,) = rows[(rows.model == name) & (rows.resolution == row.resolution)].to_dict("records")
            assert line["relative_l2"] == pytest.approx(np.mean(row.errors["relative_l2"]))
            assert line["near_jumps"] == pytest.approx(np.mean(row.errors["near_jumps"]))
    headline = pd.read_csv(demo / "tables" / "error.csv", index_col="model", dtype=str)
    best = rows[(rows.model == headline.index[0]) & (rows.resolution == 9)].relative_l2.item()
    assert headline.loc[headline.index[0], "9"] == f"{best:.4f}"
    assert best == rows[(rows.group == "operator") & (rows.resolution == 9)].relative_l2.min()


def test_every_figure_is_a_file_twice_and_embedded_as_a_lighter_picture(demo):
    page = (demo / "report.html").read_text()
    shown = re.findall(r'<figure[^>]*><img src="data:image/png;base64,([^"]+)"[^>]*>(.*?)</figcaption>', page, re.S)
    linked = [re.findall(r'href="([^"]+)"', caption) for _, caption in shown]
    files = {f"figures/{path.name}" for path in (demo / "figures").iterdir()}
    assert {link for links in linked for link in links} == files
    assert all([Path(link).suffix for link in links] == [".svg", ".png"] for links in linked)
    for (data, _), (_, png) in zip(shown, linked, strict=True):
        embedded, whole = base64.b64decode(data), (demo / png).read_bytes()
        small, large = (Image.open(io.BytesIO(each)) for each in (embedded, whole))
        assert small.width / small.height == pytest.approx(large.width / large.height, rel=0.01)
        assert len(embedded) < len(whole)


def test_the_page_loads_nothing_beside_it_links_to_what_there_is_and_says_how_to_make_it_again(demo):
    page = (demo / "report.html").read_text()
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    sources = re.findall(r'src="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    places = set(re.findall(r'id="([^"]+)"', page))
    links = [
        link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith(("data:", "https://arxiv.org/"))
    ]
    assert all(link[1:] in places if link[0] == "#" else (demo / link).is_file() for link in links)
    record = read_record(find_records(demo)[-1])
    text = html.unescape(page)
    assert record.dataset["digest"] in text
    assert record.key in text
    assert record.environment["torch"] in text
    assert all(line in text for line in record.commands)


def test_a_record_says_the_operations_of_one_prediction_where_it_was_trained(demo):
    for run in sorted((demo / "runs").iterdir()):
        (record,) = [each for each in map(read_record, find_records(demo)) if each.model == run.name.split("-")[0]]
        expected = flops(load(run, device="cpu"), 1, (9, 9))
        assert record.training["flops"] == {"prediction": expected, "resolution": 9}
    costs = pd.read_csv(demo / "tables" / "resources.csv", index_col="model", dtype=str)
    assert costs.loc["fno", "prediction [GFLOP]"].endswith(" at 9²")


def test_the_page_says_of_each_model_how_its_settings_were_chosen(demo):
    page = html.unescape((demo / "report.html").read_text())
    for model in ("fno", "mano"):
        (line,) = re.findall(f"<li>{model}: (.*?)</li>", page)
        assert re.fullmatch(r"lr \de-\d, no trials", line)
    assert "<li>No model has trials: settings are as they were given.</li>" in page


def test_rows_of_two_norms_never_share_a_table(demo):
    """Not told apart, the second would replace the first, or stand in one mean with it."""
    record = next(each for path in find_records(demo) if (each := read_record(path)).model == "fno")
    other = dataclasses.replace(
        record,
        norm="integral",
        evaluations=[
            dataclasses.replace(row, errors={name: [2 * e for e in values] for name, values in row.errors.items()})
            for row in record.evaluations
        ],
    )
    parts = tables.grounds(tables.rows([record, other]))
    assert [norm for _, norm in parts] == ["points", "integral"]
    assert list(parts) == [naming.ground(record), naming.ground(other)]
    for each in (record, other):
        alone = tables.headline(tables.rows([each]))
        pd.testing.assert_frame_equal(tables.headline(parts[naming.ground(each)]), alone)
    assert parts[naming.ground(other)].relative_l2.mean() == 2 * parts[naming.ground(record)].relative_l2.mean()


def test_times_of_several_devices_are_not_averaged(demo):
    table = tables.rows([read_record(path) for path in find_records(demo)])
    elsewhere = table.assign(seed=1, device="another", seconds=100.0, training_seconds=1e6)
    expected, found = (tables.resources(each) for each in (table, pd.concat([table, elsewhere], ignore_index=True)))
    pd.testing.assert_frame_equal(found.drop(columns="seeds"), expected.drop(columns="seeds"))
    trained = [name for name in found.index if name not in ("mean solution", "coarse solver at 9²")]
    assert (found.seeds[trained] == "2").all()
    assert (found.seeds.drop(trained) == "").all(), "what is not trained has no seeds"


def test_the_paired_interval_covers_a_known_difference_that_the_spread_of_samples_would_hide(demo):
    rng = np.random.default_rng(0)
    hardness = rng.uniform(0.1, 1.0, 200)
    record = read_record(find_records(demo)[-1])

    def row(model, values):
        return dataclasses.replace(record.evaluations[0], model=model, errors={"relative_l2": list(values)})

    rows = [row("a", hardness), row("b", hardness + 0.01 + 0.001 * rng.standard_normal(200)), row("few", [0.1, 0.2])]
    table = tables.rows([dataclasses.replace(record, evaluations=rows)])
    table = tables.paired(table, ["a", "b", "few"], rows[0].resolution)
    assert list(table.index) == ["b"], "what is known of fewer samples has no pairs"
    low, high = map(float, table.loc["b", "95 % interval"].split(" … "))
    assert 0.009 < low <= 0.01 <= high < 0.011


def made_up_times(records, device, ms):
    """Times of all operators and solvers of some records, which nobody took."""
    about = {"problem": "darcy", "precision": "float32", "mode": "eager", "rtol": None, "batch": 1, "spread": 0.0}
    about |= {"repeats": 5, "busy": True, "commit": "c", "device": device, "latency_ms": ms, "throughput_ms": ms}
    about |= {"dataset": naming.ground(records[0])[0]}
    for record in records:
        for n in (9, 17, 33):
            if record.configuration:
                made = architecture(record.configuration)
                yield Timing(name=record.model, kind="operator", resolution=n, architecture=made, **about)
            else:
                yield Timing(name="solver, arithmetic", kind="solver", resolution=n, architecture="", **about)


def test_a_report_of_timed_records_says_what_operators_are_worth_for_each_device(demo, tmp_path):
    assert "Is it worth it?" not in (demo / "report.html").read_text()
    assert not [*demo.glob("worth*"), *demo.glob("figures/*time*"), *demo.glob("figures/plane*")], "nothing has a time"
    paths, out = find_records(demo), tmp_path / "report"
    records = [read_record(path) for path in paths]
    own = device_of(records[0])
    write_times([*made_up_times(records, own, 2.0), *made_up_times(records, "Some GPU", 0.5)], out)
    page = write_report(paths, out, "Demo", "demo-quick").read_text()
    assert "Is it worth it?" in page
    assert "Some were timed on a busy machine" in page
    drawn = {path.stem for path in (out / "figures").glob("plane-*.svg")}
    assert drawn == {f"plane-{n}-{slug(device)}" for n in (9, 33) for device in (own, "Some GPU")}
    found = {(row["suite"], row["model"], row["resolution"]) for row in json.loads((out / "worth.json").read_text())}
    assert found == {("demo-quick", model, n) for model in ("fno", "mano") for n in (9, 17, 33)}
    table = pd.read_csv(out / "tables" / "worth.csv", index_col="model")
    assert set(table.index) == {
        f"{m} at {n}² on {d}" for m in ("fno", "mano") for n in (9, 33) for d in (own, "Some GPU")
    }
    shown = pd.read_csv(out / "tables" / "resources.csv", index_col="model")["prediction at 33² [ms]"]
    assert (shown["fno"], shown["coarse solver at 9²"]) == (2, 2), "the column is of the device that trained"


def test_the_plane_shows_solvers_on_their_grids_and_the_front_of_all():
    operators = [Point("fno", 85, 0.02, 1.0), Point("mano", 85, 0.01, 8.0)]
    solvers = [Point("solver", n, error, ms) for n, error, ms in ((141, 0.005, 4.0), (43, 0.03, 0.5), (85, 0.02, 2))]
    (axis,) = plane(operators, solvers, Styles(TABLE), 85, "Some GPU").axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines}
    assert drawn == {
        "fno": ([1.0], [0.02]),
        "mano": ([8.0], [0.01]),
        "solver": ([0.5, 2, 4.0], [0.03, 0.02, 0.005]),
        "Pareto front": ([0.5, 1.0, 4.0], [0.03, 0.02, 0.005]),
    }
    assert [text.get_text() for text in axis.texts] == ["43²", "85²", "141²"]


def test_alignment_that_was_logged_is_drawn_by_layer(demo, tmp_path):
    (data,) = (demo / "data").glob("*.hdf5")
    words = (
        "--operator orthogonal-fno --operator-args width=4 modes=2 --regime transported-foton --epochs 2 --alignment"
    )
    assert command("train", *words.split(), "--data", data, "--resolution", 9, "--out", tmp_path / "run") == 0
    assert command("report", tmp_path / "run", "--out", tmp_path / "report") == 0
    assert (tmp_path / "report" / "figures" / "alignment-orthogonal-fno.svg").exists()
    (path,) = find_records(tmp_path / "run")
    record = read_record(path)
    upper, lower = alignment(record).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in upper.lines}
    assert drawn == {layer: [row[f"cosine {layer}"] for row in record.history] for layer in drawn}
    assert len(drawn) == len(lower.lines) > 2


def test_runs_that_differ_in_more_than_their_seed_stand_apart(demo):
    (record, *_) = [read_record(path) for path in find_records(demo) if read_record(path).model == "fno"]

    def variant(seed=0, width=8, regime="backprop"):
        changed = {"seed": seed, "operator_args": {"width": width}, "regime": regime}
        config = record.configuration["config"] | changed
        return dataclasses.replace(record, seed=seed, configuration=record.configuration | {"config": config})

    records = [variant(), variant(seed=1), variant(width=99), variant(regime="foton")]
    names = [each.model for each in naming.apart(records)]
    own, wide, other = (
        f"fno ({words})" for words in ("width 8, regime backprop", "width 99, regime backprop", "width 8, regime foton")
    )
    assert names == [own, own, wide, other]
    table = tables.rows(naming.apart(records))
    assert set(table[table.group == "operator"].model) == set(names)
    assert set(table[table.group == "upsampled"].model) == {f"upsampled {name}" for name in names}
    assert [each.model for each in naming.apart([variant(), variant(seed=1)])] == ["fno", "fno"], "seeds are seeds"


def test_the_kind_of_a_row_and_not_its_name_says_what_it_is(demo):
    (record, *_) = [read_record(path) for path in find_records(demo) if read_record(path).model == "fno"]
    assert {row.kind for row in record.evaluations} == {"operator", "upsampled"}
    rows = [dataclasses.replace(row, model="mean solution") for row in record.evaluations if row.kind == "operator"]
    named = dataclasses.replace(record, model="mean solution", evaluations=rows)
    assert set(tables.rows([named]).group) == {"operator"}
    unknown = dataclasses.replace(named, evaluations=[dataclasses.replace(row, kind="") for row in rows])
    assert set(tables.rows([unknown]).group) == {"baseline"}, "in a record that keeps no kind, the name tells"


def test_a_report_needs_a_record(tmp_path):
    with pytest.raises(ValueError, match="at least one record"):
        write_report([], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_report_that_was_interrupted_is_written_again(demo, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("pdebench_mano.report.page._summary", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(find_records(demo), tmp_path / "report")
    page = write_report(find_records(demo), tmp_path / "report")
    assert sorted(path.name for path in page.parent.iterdir()) == ["figures", "report.html", "tables"]


def test_evaluate_prints_one_object_a_line_and_keeps_the_record(demo, capsys):
    run = next((demo / "runs").glob("fno-*"))
    (data,) = (demo / "data").glob("*.hdf5")
    assert command("evaluate", run, "--data", data, "--resolutions", "9,33", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["model"], row["resolution"]) for row in rows] == [
        ("fno", 9),
        ("fno", 33),
        ("upsampled fno", 33),
        ("coarse solver", 9),
        ("coarse solver", 33),
        *((f"solver, {scheme}", n) for scheme in ("harmonic", "geometric", "average", "refined") for n in (9, 33)),
    ]
    (path,) = find_records(run)
    kept = {(row.model, row.resolution): row.mean() for row in read_record(path).evaluations}
    assert all(row["relative_l2"] == pytest.approx(kept[row["model"], row["resolution"]], rel=1e-5) for row in rows)


def test_another_split_finds_the_validation_error_again_and_keeps_nothing(demo, capsys):
    run = next((demo / "runs").glob("mano-*"))
    (data,) = (demo / "data").glob("*.hdf5")
    before = sorted(run.rglob("*"))
    assert command("evaluate", run, "--data", data, "--resolutions", "9", "--split", "val", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    expected = json.loads((run / "summary.json").read_text())["best_validation"]
    assert row["relative_l2"] == pytest.approx(expected, rel=1e-5)
    assert sorted(run.rglob("*")) == before


def test_a_report_takes_several_runs_and_evaluates_one_that_never_was(demo, tmp_path):
    evaluated = next((demo / "runs").glob("fno-*"))
    (data,) = (demo / "data").glob("*.hdf5")
    assert command("evaluate", evaluated, "--data", data, "--resolutions", "9,17") == 0
    new = tmp_path / "run"
    shutil.copytree(next((demo / "runs").glob("mano-*")), new, ignore=shutil.ignore_patterns("records"))
    assert command("report", evaluated, new, "--out", tmp_path / "report", "--title", "Two runs") == 0
    assert "<title>Two runs</title>" in (tmp_path / "report" / "report.html").read_text()
    rows = pd.read_csv(tmp_path / "report" / "tables" / "rows.csv")
    resolutions = rows[rows.group == "operator"].groupby("model").resolution.unique().map(sorted).to_dict()
    assert resolutions == {"fno": [9, 17], "mano": [9, 33]}
