"""Bad input, whatever the command: one line that names it, exit status 2, and nothing written or changed."""

import shlex
import sys

import numpy as np
import pytest

from data_gen import generate
from pdebench_mano import RunConfig, train
from pdebench_mano.cli import main

GENERATE = "generate --samples 3 --resolution 17 --out new"
TRAIN = "train --data darcy.hdf5 --out new --epochs 1 --operator"
EVALUATE = "evaluate run --data darcy.hdf5 --resolutions"
ABSURD = 10**20
TIME = "time run --data darcy.hdf5 --resolutions"

TABLE = [
    ("inspect none.hdf5", "none.hdf5: no such file"),
    ("inspect text.hdf5", "not an HDF5 file"),
    ("inspect cut.hdf5", "truncated HDF5 file"),
    ("inspect cut.hdf5 --verify", "truncated HDF5 file"),
    ("convert none.pt new.hdf5", "no such file"),
    ("convert darcy.hdf5 text.hdf5", "left as it is"),
    ("convert darcy.hdf5 new.pt --resolution 7", "possible are 2, 3, 5, 9, 17"),
    ("generate --samples 3 --resolution 17 --out text.hdf5", "left as it is"),
    ("generate --samples 3 --resolution 17 --out .", "left as it is"),
    (
        "generate --samples 12 --resolution 17 --out darcy.hdf5 --split 0.5,0.25,0.25 --seed 1",
        "seed is 0 there, 1 here",
    ),
    ("generate --samples many --resolution 17 --out new", "--samples"),
    ("generate --samples 3", "Missing option"),
    (f"{GENERATE} --law magic", "law 'magic' is unknown: use piecewise"),
    (f"{GENERATE} --law typo.py:law", "SyntaxError: '(' was never closed"),
    (f"{GENERATE} --law own.py:three", "law 'own.py:three' must be a class or a function, got int"),
    (f"{GENERATE} --law empty.npy", "law 'empty.npy' is no .npy file of numbers"),
    (f"{GENERATE} --law several.npy", "law 'several.npy' is no .npy file of numbers"),
    (f"{GENERATE} --source own.py:three", "source 'own.py:three' must be a class or a function, got int"),
    (f"{GENERATE} --source own.py:fails", "source 'own.py:fails': KeyError: 3"),
    (f"{GENERATE} --source empty.npy", "source 'empty.npy' is no .npy file of numbers"),
    (f"{GENERATE} --problem own.py:three", "problem 'own.py:three' must be a class or a function, got int"),
    ("generate --samples 3 --resolution 17 --out circle.toml", "left as it is"),
    ("convert darcy.hdf5 circle.toml --to neuralop", "left as it is"),
    (f"{GENERATE} --law-args low=0", "low must be positive"),
    (f"{GENERATE} --law-args colour=3", "high, low, alpha, tau"),
    (f"{GENERATE} --law-args low", "law-args must be key=value"),
    (f"{GENERATE} --split 1,2", "split"),
    (f"{GENERATE} --split a,b,c", "split must be three fractions"),
    (f"{GENERATE} --source nan", "source f"),
    (f"{GENERATE} --mean quadratic", "--mean"),
    (f"{GENERATE} --workers 0", "workers"),
    (f"{GENERATE} --workers {ABSURD}", f"workers must be at most 4096, got {ABSURD}"),
    (f"{GENERATE} --samples {ABSURD}", f"samples must be at most 100000000, got {ABSURD}"),
    (f"{GENERATE} --shard-size {ABSURD}", f"shard_size must be at most 100000000, got {ABSURD}"),
    (f"{GENERATE} --label-refinement {ABSURD}", f"label_refinement must be at most 100000000, got {ABSURD}"),
    (f"{GENERATE} --label-refinement 1000000", "resolution 17×17, label_refinement 1000000: a solve on"),
    (f"{GENERATE} --scheduler ''", "the argument after --scheduler is empty"),
    (f"{GENERATE} --device cpu:x", "device"),
    (f"{GENERATE} --scheduler nowhere", "scheduler 'nowhere' is no address: missing port number"),
    (f"{TRAIN} fnoo", "operator 'fnoo' is unknown: use mano, "),
    (f"{TRAIN} baselines.fno:FMO", "has no FMO"),
    (f"{TRAIN} nowhere:FNO", "no module named 'nowhere'"),
    (f"{TRAIN} nowhere.py:FNO", "no file nowhere.py"),
    (f"{TRAIN} typo.py:Mine", "typo.py:Mine': SyntaxError: '(' was never closed"),
    (f"{TRAIN} fno --operator-args widht=3", "widht"),
    (f"{TRAIN} fno --operator-args width=wide", "operator 'fno': "),
    (f"{TRAIN} fno --operator-args width", "must be key=value"),
    (f"{TRAIN} fno --regime hebb", "regime 'hebb' is unknown: use backprop, "),
    (f"{TRAIN} fno --regime own.py:three", "regime 'own.py:three' must be a class or a function, got int"),
    (f"{TRAIN} fno --regime own.py:Nothing", "regime 'own.py:Nothing' has no check, gradients, retract"),
    (f"{TRAIN} own.py:three", "operator 'own.py:three' must be a class or a function, got int"),
    (f"{TRAIN} fno --device meta", "device must be cpu, or cuda where there is one, got 'meta'"),
    (f"{TRAIN} fno --resolution 12", "possible are"),
    (f"{TRAIN} fno --resolution wide", "integers"),
    (f"{TRAIN} fno --lr -1", "lr=-1.0"),
    (f"{TRAIN} fno --epochs {ABSURD}", f"epochs={ABSURD}: Input should be less than or equal to 100000000"),
    (f"{TRAIN} fno --batch-size {ABSURD}", f"batch_size={ABSURD}: Input should be less than or equal to"),
    (f"{TRAIN} fno --device ''", "the argument after --device is empty"),
    (f"{TRAIN} fno --seed 4294967296", "seed=4294967296: Input should be less than 4294967296"),
    (f"{GENERATE} --seed 99999999999999999999999", "seed must be non-negative and below 2^63"),
    (f"{TRAIN} fno --schedule linear", "schedule='linear'"),
    (f"{TRAIN} fno --device tpu", "device must be cpu, or cuda where there is one, got 'tpu'"),
    ("train --operator fno --out new --data none.hdf5", "no such file"),
    ("train --operator fno --out new --data cut.hdf5", "truncated"),
    ("train --operator fno --out new --data text.hdf5", "not an HDF5 file"),
    ("train --operator fno --data darcy.hdf5 --out occupied", "something that is no run"),
    (f"{EVALUATE} 9,12", "possible are"),
    (f"{EVALUATE} 2", "zero at all 2×2 points in sample"),
    (f"{EVALUATE} nine", "resolutions must be integers separated by commas"),
    (f"{EVALUATE} 9 --split dev", "split 'dev' is not in"),
    ("evaluate run --data none.hdf5 --resolutions 9", "no such file"),
    ("evaluate none --data darcy.hdf5 --resolutions 9", "is not a run folder"),
    ("report none --out new", "is not a run folder"),
    ("report run --out occupied", "holds something that is no report"),
    ("export none --out new", "is not a run folder"),
    ("export run --out occupied", "holds something that is no exported operator"),
    ("export run --out text.hdf5", "holds something that is no exported operator"),
    ("export run --out new --records occupied", "holds no record of the weights of run"),
    ("benchmark none.toml --out new", "there is no suite none.toml: give a TOML file, or one of "),
    ("benchmark occupied/demo-quick.toml --out new", "No such file or directory: 'occupied/demo-quick.toml'"),
    ("benchmark circle.toml --out new", "there is no suite circle.toml"),
    ("benchmark circle.toml --out new --time", "there is no suite circle.toml"),
    (f"benchmark demo-quick --out new --jobs {ABSURD}", f"jobs must be at most 4096, got {ABSURD}"),
    ("benchmark demo-quick --out new --jobs 0", "jobs must be at least 1, got 0"),
    ("benchmark demo-quick --out new --scheduler ''", "the argument after --scheduler is empty"),
    ("benchmark demo-quick --out new --scheduler=", "--scheduler is empty"),
    ("benchmark demo-quick.toml --out new --only transolver", "no model is called transolver"),
    ("benchmark demo-quick --out new --scheduler nowhere", "scheduler 'nowhere' is no address: missing port number"),
    ("benchmark demo-quick --out new --jobs 2 --scheduler tcp://a:1", "--jobs 2 is of this machine"),
    ("leaderboard --add run", "holds no record of a model; pdebench-mano evaluate makes"),
    ("leaderboard --suite darcy999", "suite 'darcy999' has no published records: use darcy85"),
    ("check fno --run none", "is not a run folder"),
    ("check unet --run run", "trained 'fno', not 'unet'"),
    ("check typo.py:Mine", "SyntaxError"),
    ("check own.py:Grows", "own.py has no Grows"),
    (f"{TIME} 9,12 --out new", "possible are"),
    (f"{TIME} 9 --out text.hdf5", "out=text.hdf5 is a file; choose a folder"),
    (f"{TIME} 9 --out timed", "times.jsonl holds no times: "),
    (f"{TIME} 9 --repeats 0 --out new", "repeats must be at least 1, got 0"),
    (f"{TIME} 9 --repeats {ABSURD} --out new", f"repeats must be at most 100000000, got {ABSURD}"),
    (f"{TIME} 9 --device tpu --out new", "device must be cpu, or cuda where there is one, got 'tpu'"),
    ("time none --data darcy.hdf5 --resolutions 9 --out new", "is not a run folder"),
    ("time --data darcy.hdf5 --resolutions 9 --out new", "nothing to time: name run folders, or --rivals"),
    ("time --rivals --data darcy.hdf5 --resolutions 12 --out new", "possible are"),
    ("benchmark demo-quick --out new --time", "new holds no record of demo-quick: run it without --time first"),
    ("benchmark demo-quick --out new --time --jobs 2", "--time trains nothing, and takes neither --jobs nor --sch"),
    (f"scaling --operators fno --repeats {ABSURD} --out new", f"repeats must be at most 100000000, got {ABSURD}"),
    ("scaling --operators fnoo --out new", "operator 'fnoo' is unknown"),
    ("scaling --operators fno --resolutions 1 --out new", "resolutions must be at least 2, got 1"),
    ("scaling --operators fno --precision float8 --out new", "precision must be float32 or bfloat16, got 'float8'"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a dataset, a run without record, and what is no dataset, no run, no law and no operator."""
    place = tmp_path_factory.mktemp("place")
    data = place / "darcy.hdf5"
    generate(data, 12, 17, split=(0.5, 0.25, 0.25))
    (place / "cut.hdf5").write_bytes(data.read_bytes()[:5000])
    (place / "text.hdf5").write_text("mine")
    (place / "typo.py").write_text("def law(shape, rng:\n")
    (place / "own.py").write_text("three = 3\nclass Nothing: pass\ndef fails(x, y): raise KeyError(3)\n")
    (place / "empty.npy").write_bytes(b"")
    with (place / "several.npy").open("wb") as stream:
        np.savez(stream, a=np.ones(3))
    (place / "occupied").mkdir()
    (place / "occupied" / "thesis.tex").write_text("dear to somebody")
    (place / "circle.toml").symlink_to(place / "circle.toml")
    (place / "timed").mkdir()
    (place / "timed" / "times.jsonl").write_text("{}")
    arguments = {"width": 4, "depth": 1, "modes": 4}
    config = RunConfig(operator="fno", operator_args=arguments, data=str(data), resolution=9, epochs=1)
    train(config, place / "run", device="cpu")
    return place


def content(folder):
    """Every file, its size and when it was changed; sources that were compiled on the way are none of it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


@pytest.mark.parametrize(("words", "message"), TABLE, ids=[words for words, _ in TABLE])
def test_bad_input_is_one_line_and_status_2(place, monkeypatch, capsys, words, message):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["pdebench-mano", *shlex.split(words)])
    before = content(place)
    with pytest.raises(SystemExit) as stopped:
        main()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert stopped.value.code == 2
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert content(place) == before
