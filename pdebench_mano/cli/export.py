"""``pdebench-mano export``."""

from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli.app import app


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    records: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a benchmark: its records of this run and of its references go into the card, too."
        ),
    ] = None,
    torch_export: Annotated[
        bool,
        typer.Option("--torch-export", help="Write model.pt2, too: a program that PyTorch runs without this suite."),
    ] = False,
) -> None:
    """Write a trained operator as a folder that others can use: weights, config, model card.

    The card is made from the run and its records: evaluate it first. Read it with
    pdebench_mano.training.sharing.SharedOperator.from_pretrained(OUT), which takes a repository on the Hugging Face
    Hub, too, and whose push_to_hub makes one. The same command again leaves OUT as it is.
    """
    from pdebench_mano.report.export import MODEL
    from pdebench_mano.report.export import export as write

    exported = write(run, out, records=records, torch_export=torch_export)
    print(f"{out} {'written' if exported.new else 'is there already, and is left as it is'}")
    if exported.program:
        print(f"{out / MODEL} takes {exported.program}")
