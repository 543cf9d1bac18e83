"""The times of a folder: what was timed and how long it took, one line each.

FOLDER/times.jsonl    one `Timing` a line; beside the records of a run or a benchmark it is what their reports show
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import lexists
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from data_gen.storage import write_text
from pdebench_mano.evaluation.records import digest
from pdebench_mano.training.options import RunConfig

TIMES = "times.jsonl"
ONE_CORE = ", one core"
"""What the name of a processor ends with where one core of it took the times."""


@dataclass(frozen=True)
class Timing:
    """One operator or solver on one grid.

    Attributes
    ----------
    name : str
        What records call the operator, or ``solver, SCHEME``; ``labels``, which are made by the problem's own solver on
        the stored grid, or the finer one that they were solved for on.
    kind : {"operator", "solver", "labels"}
    problem : str
    resolution : int
    device : str
    precision : {"float32", "bfloat16", "float16", "float64"}
        Of an operator float32, or half of that by autocast; of a solver that of its solutions.
    mode : {"eager", "cuda graph", "compiled"}
    rtol : float or None
        Tolerance of a solver.
    batch : int
        Samples in the batch of the throughput.
    latency_ms, throughput_ms : float
        Medians, of one sample alone and of one of the batch.
    spread : float
        (p90 − p10)/median over the repeats, the larger one of latency and throughput.
    repeats : int
        Times that the medians are of: 1 where a call is too long to be repeated, see `stopwatch.LONG`.
    busy : bool
        Whether something else was at work: the times are no better than upper bounds.
    commit : str
    architecture : str
        Digest of what makes an operator as fast as it is, see `architecture`; "" of solvers.
    dataset : str
        Digest of what the samples are, see `pdebench_mano.evaluation.records.evaluated_on`.
    steps : int
        States that are predicted one after another, or solved for, of which times are those of all.
    """

    name: str
    kind: str
    problem: str
    resolution: int
    device: str
    precision: str
    mode: str
    rtol: float | None
    batch: int
    latency_ms: float
    throughput_ms: float
    spread: float
    repeats: int
    busy: bool
    commit: str
    architecture: str
    dataset: str
    steps: int = 1

    def same(self, about: "About") -> bool:
        """Whether this is a time of what is described."""
        return all(getattr(self, name) == value for name, value in about._asdict().items())


class About(NamedTuple):
    """What is timed; the attributes are those of `Timing`."""

    name: str
    kind: str
    problem: str
    resolution: int
    device: str
    precision: str
    mode: str
    architecture: str
    dataset: str
    steps: int


_TIMING = TypeAdapter(Timing)


def architecture(configuration: Mapping[str, Any]) -> str:
    """Digest of what makes a trained operator as fast as it is, whatever its weights.

    Parameters
    ----------
    configuration : mapping
        Of a run or a record.
    """
    config = configuration["config"]
    said = {name: config.get(name, RunConfig.model_fields[name].default) for name in ("precision", "compile")}
    sources = configuration.get("sources", {}).get("operator")
    return digest([config["operator"], config["operator_args"], said, sources, configuration["data"]["channels"]])


def read_times(folder: Path) -> list[Timing]:
    """What ``folder/times.jsonl`` holds; nothing if it is not there.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    path = folder / TIMES
    try:
        return [_TIMING.validate_json(line) for line in path.read_bytes().splitlines()] if lexists(path) else []
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path} holds no times: {'.'.join(map(str, first['loc']))} {first['msg']}") from None


def write_times(times: Sequence[Timing], folder: Path) -> None:
    """Write ``folder/times.jsonl``, in one piece.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TIMES, "".join(json.dumps(asdict(each)) + "\n" for each in times))
