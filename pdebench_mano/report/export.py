"""A run → a folder that others can use, see `pdebench_mano.training.sharing`, with its card; as a program if asked."""

import filecmp
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from data_gen.grid import Grid
from data_gen.storage import UNKNOWN, alone, atomic
from pdebench_mano.evaluation.assess import describe
from pdebench_mano.evaluation.records import Record, find_records, read_record, records_of
from pdebench_mano.fields.data import Dataset
from pdebench_mano.operators.program import write_program
from pdebench_mano.report.card import card
from pdebench_mano.report.naming import ground
from pdebench_mano.training.folder import read_config, trained_on, weights_of
from pdebench_mano.training.runs import load
from pdebench_mano.training.sharing import CARD, CONFIG, PROGRAM, SCHEMA, SharedOperator, about_run

MODEL = "model.pt2"


class Exported(NamedTuple):
    """What became of an export: whether it is new, or was there already, and what its program takes, in words."""

    new: bool
    program: str = ""


def export(
    run: str | Path, out: str | Path, *, records: str | Path | None = None, torch_export: bool = False
) -> Exported:
    """Write the operator of a run into the folder `out`, in one piece; leave an earlier export of the same as it is.

    Parameters
    ----------
    run : path
        Run folder.
    out : path
        Folder to make.
    records : path, optional
        Folder of a benchmark, whose records of these weights and of its references stand in the card, beside those in
        the run folder.
    torch_export : bool
        Whether to write ``model.pt2``, too, see `pdebench_mano.operators.program`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no trained run, `out` holds anything else, a record is of other weights, or `torch.export` does not
        take the operator.
    FileExistsError
        If another process writes there.
    """
    run, out = Path(run), Path(out)
    trained = load(run, device="cpu")
    found = [read_record(path) for path in records_of(run)]
    found += [] if records is None else records_beside(Path(records), run)
    attributes = attributes_of_training(run, found)
    about = about_run(run, trained, attributes)
    shared = SharedOperator.of_run(run, trained, about, card(about, found, licence()))
    with alone(out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            refuse_foreign(out)
            with TemporaryDirectory() as made:
                shared.save_pretrained(made)
                refuse_other(out, Path(made), torch_export)
            return Exported(False)
        with atomic(out) as temporary:
            shared.save_pretrained(temporary)
            if not torch_export:
                return Exported(True)
            grid = training_grid(about, attributes)
            any_grid = write_program(trained, grid, temporary / MODEL)
            words = f"any batch on {grid} points" + (", or on more along either axis" if any_grid else " alone")
            with (temporary / CARD).open("a") as file:
                file.write(
                    f"{PROGRAM}\n`{MODEL}` is the operator as `torch.export` traced it, normalisation included: "
                    f'`torch.export.load("{MODEL}").module()(a)`. It takes {words}.\n'
                )
            return Exported(True, words)


def refuse_foreign(out: Path) -> None:
    """Refuse what no export has written.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        ours = json.loads((out / CONFIG).read_text())["schema"] == SCHEMA
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ValueError(f"out={out} holds something that is no exported operator; choose a new folder")


def refuse_other(out: Path, made: Path, torch_export: bool) -> None:
    """Refuse a folder whose files are not those that this export has `made`.

    Raises
    ------
    ValueError
        Names the first that differs.
    """
    for path in sorted(made.iterdir()):
        there = out / path.name
        if path.name == CARD and there.is_file():
            same = there.read_text().partition(PROGRAM)[0] == path.read_text()
        else:
            same = there.is_file() and filecmp.cmp(path, there, shallow=False)
        if not same:
            raise ValueError(f"out={out} holds another export, whose {path.name} differs; choose a new folder")
    if torch_export and not (out / MODEL).exists():
        raise ValueError(f"out={out} holds an export without {MODEL}; choose a new folder")


def records_beside(folder: Path, run: Path) -> list[Record]:
    """The records of a run in the folder of a benchmark, and those of references on the same samples.

    A record is of the run if it has its weights; one of an earlier version, which kept no digest of them, if it has its
    whole configuration.

    Raises
    ------
    ValueError
        If there is none of the run.
    """
    records = [read_record(path) for path in find_records(folder)]
    weights, description = weights_of(run), json.loads((run / "config.json").read_text())
    own = [each for each in records if (each.weights or each.configuration) in (weights, description)]
    if not own:
        raise ValueError(f"records={folder} holds no record of the weights of {run}")
    grounds = {ground(record) for record in own}
    return own + [record for record in records if not record.configuration and ground(record) in grounds]


def attributes_of_training(run: Path, records: Sequence[Record]) -> dict[str, Any]:
    """What the file that a run was trained on says: as a record kept it, or the file, where it lies there still."""
    digest, path = trained_on(run), Path(read_config(run).data)
    for record in records:
        if record.dataset["digest"] == digest:
            return record.dataset
    if path.exists() and (info := Dataset(path).info).digest == digest:
        return describe(info)
    return {}


def training_grid(about: dict[str, Any], attributes: dict[str, Any]) -> Grid:
    """The grid that a run was trained on; square where only its resolution is known."""
    n, kind = about["data"]["resolution"], about["model"]["grid"]
    return Grid(tuple(attributes.get("shape", (n, n))), kind).coarsened(n)[0]


def licence() -> str:
    """The suite's licence, as its package says it."""
    try:
        return str(metadata("pdebench-mano").json.get("license_expression", UNKNOWN))
    except PackageNotFoundError:
        return UNKNOWN
