"""The tables of the page on the papers' experiments, made from the records in `results/`.

    python benchmarks/papers/tables.py

A table is between ``<!-- NAME: made by benchmarks/papers/tables.py -->`` and ``<!-- end -->``. Accuracies are of test
images, in percent: mean ± standard deviation over seeds.
"""

import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from records import RESULTS, read

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "results" / "papers.md"
TABLE = re.compile(r"(<!-- ([\w ,-]+): made by benchmarks/papers/tables\.py -->\n).*?(<!-- end -->)", re.DOTALL)

Records = list[dict[str, Any]]
RULES = {
    "backprop": "backpropagation",
    "foton": "FOTON",
    "foton, small step": "FOTON, η = .01",
    "foton-latent": "latent FOTON",
    "transported-foton": "transported FOTON",
    "pepita": "PEPITA",
}
ACTIVATIONS = {"identity": "identity", "tanh": "tanh", "relu": "ReLU", "gelu": "GELU"}
DATA = {"digits": "digits", "mnist": "MNIST, 5000"}
DEPTHS = 2, 3, 5, 10, 50


def with_tables(text: str, folder: Path = RESULTS) -> str:
    """A text with every table made anew."""
    records = [record for path in sorted(folder.glob("*.jsonl")) for record in read(path)]
    return TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](records)}\n{found[3]}", text)


def found(records: Records, **cell: Any) -> dict[str, Any] | None:
    """The record of a cell, if there is one."""
    return next((each for each in records if cell.items() <= each["cell"].items()), None)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose first column is of names; rows without a value are left out."""
    names, *lines = [list(head), *(line for row in rows if any((line := list(row))[1:]))]
    return "".join(f"| {' | '.join(row)} |\n" for row in [names, ["---", *["---:"] * (len(names) - 1)], *lines])


def percent(record: dict[str, Any] | None) -> str:
    """Test accuracy, as 97.2 ± .3."""
    if record is None:
        return ""
    spread = statistics.stdev(record["test"]) if len(record["test"]) > 1 else 0.0
    return f"{mean(record):.1f} ± {spread * 100:.1f}"


def mean(record: dict[str, Any]) -> float:
    """Test accuracy in percent."""
    return 100 * statistics.fmean(record["test"])


def settings(record: dict[str, Any] | None) -> str:
    """What was chosen, and the least cosine with the gradient before and after training."""
    if record is None:
        return ""
    chosen = f"{record['chosen']['lr']:g}" + ("" if record["chosen"].get("constrained", True) else ", free")
    return f"{chosen}; {' → '.join('–' if each is None else f'{each:.2f}' for each in record['cosine'])}"


def by_depth(activation: str, network: str = "MLP", shown: Callable[..., str] = percent) -> Callable[[Records], str]:
    """Rules by number of hidden layers, on digits."""

    def made(records: Records) -> str:
        where = {"data": "digits", "network": network, "activation": activation}
        depths = [depth for depth in DEPTHS if found(records, depth=depth, **where)]
        rows = (
            [name, *(shown(found(records, depth=depth, rule=rule, **where)) for depth in depths)]
            for rule, name in RULES.items()
        )
        return markdown([f"{ACTIVATIONS[activation]}, hidden layers", *map(str, depths)], rows)

    return made


def minus(rival: str) -> Callable[[Records], str]:
    """FOTON's accuracy minus that of another rule, in points, on digits."""

    def difference(records: Records, **cell: Any) -> str:
        pair = [found(records, data="digits", network="MLP", rule=rule, **cell) for rule in ("foton", rival)]
        return f"{mean(pair[0]) - mean(pair[1]):+.1f}".replace("-", "−") if all(pair) else ""  # type: ignore[arg-type]

    def made(records: Records) -> str:
        rows = (
            [name, *(difference(records, activation=activation, depth=depth) for depth in DEPTHS)]
            for activation, name in ACTIVATIONS.items()
        )
        return markdown([f"FOTON minus {RULES[rival]}, points", *map(str, DEPTHS)], rows)

    return made


def across(network: str, cells: list[tuple[str, str, int]]) -> Callable[[Records], str]:
    """Rules by data, activation and depth."""

    def made(records: Records) -> str:
        head = [f"{DATA[data]}, {ACTIVATIONS[activation]}, {depth} layers" for data, activation, depth in cells]
        rows = (
            [name]
            + [
                percent(found(records, data=data, activation=activation, depth=depth, network=network, rule=rule))
                for data, activation, depth in cells
            ]
            for rule, name in RULES.items()
        )
        return markdown(["", *head], rows)

    return made


def classification(records: Records) -> str:
    """MANO, ViT and Swin on both sets of images."""
    rows = []
    for network in ("MANO", "ViT", "Swin"):
        each = [found(records, data=data, network=network) for data in DATA]
        size = f"{each[0]['parameters'] / 1e3:.1f} k" if each[0] else ""
        rows.append([network, size, *map(percent, each), *(f"{r['cpu_seconds']:.0f} s" if r else "" for r in each)])
    return markdown(["", "weights", *DATA.values(), *(f"CPU time, {name}" for name in DATA.values())], rows)


TABLES: dict[str, Callable[[Records], str]] = {
    **{f"digits, {activation}": by_depth(activation) for activation in ACTIVATIONS},
    "orthogonal head": by_depth("tanh", "MLP, orthogonal head"),
    "settings": by_depth("tanh", shown=settings),
    "minus backpropagation": minus("backprop"),
    "minus PEPITA": minus("pepita"),
    "mnist": across("MLP", [("mnist", "tanh", depth) for depth in (2, 10)]),
    "convolutions": across("convolutions", [("digits", activation, 3) for activation in ("tanh", "relu")]),
    "classification": classification,
}

if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
