"""The README's Python example runs as it stands, and its table is that of the records."""

import re
import runpy
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {"__name__": "example"})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["17", "33", "65"]
    assert all(float(row[1]) < 0.5 for row in rows), "twenty epochs learn more than predicting zero"


def test_the_tables_are_made_from_the_records():
    headline = runpy.run_path(str(README.parent / "benchmarks" / "headline.py"))
    for path in headline["TEXTS"]:
        assert headline["with_tables"](path.read_text()) == path.read_text(), path.name
