"""How a setting is chosen, and the records of what came of it.

A cell says what is trained, how long and with how many seeds. Seed 0 tries every setting and chooses by the validation
images, the first of those that are equally good; all seeds are then trained with it, and the test images are looked at
once. A file of records has one of a cell and is gone on from.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from images import PARTS, Part, accuracy
from torch import nn

from data_gen.recipe import installed
from data_gen.storage import write_text
from pdebench_mano.machine.provenance import commit, cpu, provenance

RESULTS = Path(__file__).parent / "results"
Cell = dict[str, Any]
Train = Callable[..., tuple[nn.Module, dict[str, Any]]]
"""(cell, training images, seed, **setting) ↦ the trained network, and what else is to be recorded of seed 0."""


def measure(cell: Cell, data: dict[str, Part], settings: list[dict[str, Any]], train: Train) -> dict[str, Any]:
    """The record of a cell."""
    start = time.process_time()
    known, seen, unseen = (data[name] for name in PARTS)
    searched = [train(cell, known, 0, **each) for each in settings]
    scores = [accuracy(network, seen) for network, _ in searched]
    best = scores.index(max(scores))
    seeds = (train(cell, known, seed, **settings[best])[0] for seed in range(1, cell["seeds"]))
    trained = [searched[best][0], *seeds]
    about = {
        "cell": cell,
        "chosen": settings[best],
        "trials": [each | {"validation": round(score, 4)} for each, score in zip(settings, scores, strict=True)],
        "validation": [round(accuracy(network, seen), 4) for network in trained],
        "test": [round(accuracy(network, unseen), 4) for network in trained],
        "parameters": sum(p.numel() for p in trained[0].parameters()),
    }
    return about | searched[best][1] | {"cpu_seconds": round(time.process_time() - start, 1)}


def read(path: Path) -> list[dict[str, Any]]:
    """The records in a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add(path: Path, record: dict[str, Any]) -> None:
    """Add a record, with what it depends on besides."""
    packages = {name: installed(name) for name in ("scikit-learn", "mlxtend")}
    machine = {"device": "cpu", "cpu": cpu(), "threads": torch.get_num_threads(), "commit": commit()}
    lines = [*read(path), record | {"provenance": provenance() | packages | machine}]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def complete(
    path: Path, cells: list[Cell], data: dict[str, Part], settings: Callable[[Cell], list[dict[str, Any]]], train: Train
) -> None:
    """Add the records of those cells that the file has none of, one by one."""
    for cell in cells:
        if any(record["cell"] == cell for record in read(path)):
            continue
        record = measure(cell, data[cell["data"]], settings(cell), train)
        add(path, record)
        about = ", ".join(str(value) for key, value in cell.items() if key not in ("epochs", "seeds"))
        print(f"{about}: {sum(record['test']) / len(record['test']):.3f}, {record['cpu_seconds']} s", flush=True)
