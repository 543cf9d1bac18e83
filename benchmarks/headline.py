"""The table and the figure of README, made from the published records.

python benchmarks/headline.py
"""

from pathlib import Path

from pdebench_mano.records import Record, find_records, read_record
from pdebench_mano.report import figures, tables

ROOT = Path(__file__).parents[1]
README, FIGURE = ROOT / "README.md", ROOT / "docs" / "error-against-resolution.png"
RECORDS = ROOT / "benchmarks" / "records" / "darcy16"
BEGIN, END = "<!-- made by benchmarks/headline.py -->\n", "<!-- end -->\n"


def with_table(text: str) -> str:
    """README's text with the table between the marks made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


def table() -> str:
    """Models by resolution, relative L2 error, in Markdown."""
    cells = tables.headline(tables.rows(records()))
    rows = [
        ["relative L2 error", *(f"{n}²" for n in cells.columns)],
        ["---", *("---:" for _ in cells.columns)],
        *([name, *row] for name, row in cells.iterrows()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def records() -> list[Record]:
    """The published records, in the order of their files."""
    return [read_record(path) for path in find_records(RECORDS)]


if __name__ == "__main__":
    rows = tables.rows(records())
    figures.error_against_resolution(rows, figures.Styles(rows)).savefig(FIGURE, dpi=120)
    README.write_text(with_table(README.read_text()))
