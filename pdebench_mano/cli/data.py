"""Commands on dataset files: generate, inspect, convert."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pdebench_mano.cli.app import app, console, key_values


@app.command()
def generate(
    samples: Annotated[int, typer.Option(help="Number of samples.")],
    resolution: Annotated[int, typer.Option(help="Vertices a side, boundary included.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    law: Annotated[
        str, typer.Option(help="Law of the coefficient: a name, module:function, or a .npy file.")
    ] = "piecewise",
    law_args: Annotated[list[str] | None, typer.Option(help="Parameters of the law, key=value …")] = None,
    source: Annotated[float, typer.Option(help="Constant source f.")] = 1.0,
    mean: Annotated[
        Literal["arithmetic", "harmonic"], typer.Option(help="Face means of the coefficient.")
    ] = "arithmetic",
    method: Annotated[Literal["auto", "cg", "direct"], typer.Option(help="Solver.")] = "auto",
    rtol: Annotated[float, typer.Option(help="Bound on the relative residual of each sample.")] = 1e-10,
    split: Annotated[str, typer.Option(help="Fractions of train,val,test, in the order of samples.")] = "0.8,0.1,0.1",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    shard_size: Annotated[
        int | None, typer.Option(help="Samples in a shard, the most a kill loses per worker.")
    ] = None,
) -> None:
    """Generate a Darcy dataset: random coefficients a, verified solutions u of -div(a grad u) = f.

    The same command again resumes a partial output and leaves a complete one as it is.
    """
    from data_gen.generate import generate as run

    existed = out.exists()
    columns = (
        TextColumn("generate"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("generate", total=samples, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.3g}/s" if speed else "")

        info = run(
            out,
            samples,
            resolution,
            seed=seed,
            law=law,
            law_args=key_values(law_args, "law-args"),
            source=source,
            mean=mean,
            method=method,
            rtol=rtol,
            split=_fractions(split),
            workers=workers,
            shard_size=shard_size,
            progress=show,
        )
    state = "is already complete" if existed else "written"
    print(f"{info.path} {state}: {info.samples} samples of {info.shape[0]}×{info.shape[1]} vertices")


def _fractions(text: str) -> Any:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"split must be three fractions separated by commas, got {text!r}") from None


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Dataset file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a dataset file says about itself."""
    from data_gen.storage import open_hdf5, read_info

    info = read_info(file)
    with open_hdf5(file) as data:
        residual = data["quality/relative_residual"][:]
    worst = float(residual.max()) if np.isfinite(residual).all() else None
    summary = {
        "path": str(info.path),
        "samples": info.samples,
        "shape": list(info.shape),
        "splits": {name: len(indices) for name, indices in info.splits.items()},
        "max_relative_residual": worst,
        **info.attributes,
    }
    if as_json:
        print(json.dumps(summary))
        return
    for key, value in summary.items():
        print(f"{key:24}{'unknown' if value is None else value}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="File of another project (.pt).")],
    target: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    grid: Annotated[Literal["vertices", "left"] | None, typer.Option(help="Kind of grid of the source.")] = None,
) -> None:
    """Convert a file of another project into the schema of this one."""
    from data_gen.interop import convert as run

    info = run(source, target, grid=grid)
    print(f"{info.path} written: {info.samples} samples of {info.shape[0]}×{info.shape[1]} points, grid {info.grid}")
