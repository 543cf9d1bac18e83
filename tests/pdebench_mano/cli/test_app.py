"""The command line as a person meets it."""

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from data_gen import PROBLEMS, generate
from data_gen.laws import LAWS
from pdebench_mano.benchmark.leaderboard import published, suites
from pdebench_mano.cli import main
from pdebench_mano.cli.app import COMMANDS, app, repeat_options
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.training.regimes import REGIMES

PROGRAM = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'pdebench-mano'; from pdebench_mano.cli import main; main()",
]


def command(*words, **environment):
    variables = os.environ | {"COLUMNS": "80", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run([*PROGRAM, *map(str, words)], env=variables, capture_output=True, text=True, check=False)


def test_alone_it_shows_what_to_do_first():
    result = command()
    assert result.returncode == 0
    first = next(line for line in result.stdout.splitlines() if line.startswith("      "))
    assert first.split() == ["pdebench-mano", "demo"]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_list_of_operators_fits_80_columns_and_cuts_nothing():
    lines = command("operators").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("ge", ["generate"]),
        ("train --operator or", [name for name in OPERATORS if name.startswith("or")]),
        ("train --regime ", [*REGIMES]),
        ("generate --law ", [*LAWS]),
        ("generate --problem ", [*PROBLEMS]),
        ("check-problem na", ["navier-stokes"]),
        ("operators unet", ["unet"]),
        ("check fn", ["fno"]),
        ("benchmark darcy8", ["darcy85", "darcy85-refined"]),
        ("benchmark my.to", []),
        ("leaderboard --suite darcy4", ["darcy43"]),
    ],
)
def test_commands_and_names_are_completed(words, completed):
    typed = f"pdebench-mano {words}"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    assert command(_PDEBENCH_MANO_COMPLETE="complete_bash", **asked).stdout.split() == completed


def test_commands_of_published_records_lack_nothing():
    """That of a folder of a suite's own name was without --out, which is asked for now."""
    for name in COMMANDS:
        import_module(f"pdebench_mano.cli.{name}")
    typed = {line for suite in suites() for record in published(suite) for line in record.commands}
    assert len(typed) > 100
    for line in typed:
        _, name, *words = shlex.split(line)
        get_command(app).commands[name].make_context(name, repeat_options(words))


@pytest.mark.parametrize(
    "words",
    ["demo", "demo --quick --out elsewhere", "benchmark demo-quick --out 'my results' --only=fno --only=mano"],
)
def test_a_suite_keeps_the_command_that_was_typed(words, monkeypatch):
    told = []
    monkeypatch.setattr("pdebench_mano.cli.benchmark.run_and_report", lambda *arguments: told.append(arguments[2]))
    monkeypatch.setattr(sys, "argv", ["pdebench-mano", *shlex.split(words)])
    with pytest.raises(SystemExit):
        main()
    assert told == [f"pdebench-mano {words}"]


INTERRUPTED = """
import os, signal
from torch import nn

class Interrupted(nn.Conv2d):
    \"\"\"A layer that gets Ctrl-C in its fifth call, once.\"\"\"

    calls = 0

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, a):
        self.calls += 1
        if self.calls == 5 and not os.path.exists("interrupted"):
            open("interrupted", "w").close()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits none
            signal.raise_signal(signal.SIGINT)
        return super().forward(a)
"""


def test_an_interrupted_training_says_how_to_go_on_and_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("layer.py").write_text(INTERRUPTED)
    generate("darcy.hdf5", samples=10, resolution=9, seed=0)
    options = shlex.split("--operator layer.py:Interrupted --data darcy.hdf5 --batch-size 4 --epochs 4 --out run")
    result = command("train", *options)
    assert result.returncode == 130
    said = shlex.split(result.stderr.rpartition("to go on from here:")[2])
    assert said == ["pdebench-mano", "train", *options]
    assert Path("run/checkpoint.pt").exists()
    assert not Path("run/summary.json").exists()
    assert command(*said[1:]).returncode == 0
    assert len(Path("run/history.csv").read_text().splitlines()) == 1 + 4


def test_windows_is_refused_in_one_line_that_says_what_to_do():
    """Before anything is imported that fails there with a traceback."""
    code = "import sys; sys.platform = 'win32'; import pdebench_mano.cli"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert "Windows" in line
    assert "WSL" in line
