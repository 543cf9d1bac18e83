"""Commands on dataset files: generate, inspect, convert."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from pdebench_mano.cli.app import app, key_values

LAWS = "piecewise, lognormal, inclusions, channels, module:function, file.py:function or file.npy."


@app.command()
def generate(
    samples: Annotated[int, typer.Option(help="Number of samples.")],
    resolution: Annotated[int, typer.Option(help="Vertices a side, boundary included.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    law: Annotated[str, typer.Option(help="Law of the coefficient: " + LAWS)] = "piecewise",
    law_args: Annotated[list[str] | None, typer.Option(help="Parameters of the law, key=value …")] = None,
    source: Annotated[str, typer.Option(help="Source f: a number, a .npy file or module:function of (x, y).")] = "1",
    mean: Annotated[
        Literal["arithmetic", "harmonic"], typer.Option(help="Face means of the coefficient.")
    ] = "arithmetic",
    method: Annotated[Literal["auto", "cg", "direct"], typer.Option(help="Solver.")] = "auto",
    rtol: Annotated[float, typer.Option(help="Bound on the relative residual of each sample.")] = 1e-10,
    split: Annotated[str, typer.Option(help="Fractions of train,val,test, in the order of samples.")] = "0.8,0.1,0.1",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    shard_size: Annotated[int | None, typer.Option(help="Samples in a shard, the most a kill loses a worker.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda to solve in batches on a GPU.")] = "cpu",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler; its workers must see OUT.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="With a scheduler: make one plain file.")] = False,
) -> None:
    """Generate a Darcy dataset: random coefficients a, verified solutions u of -div(a grad u) = f.

    The same command again resumes a partial output and leaves a complete one as it is.
    """
    from data_gen import generate as run
    from pdebench_mano.machine.progress import bar

    existed = out.exists()
    with ExitStack() as stack:
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
            device=device,
            workers=workers,
            executor=stack.enter_context(dask_executor(scheduler)) if scheduler else None,
            shard_size=shard_size,
            merge=merge or scheduler is None,
            progress=stack.enter_context(bar("generate")),
        )
    state = "is already complete" if existed else "written"
    print(f"{info.path} {state}: {info.samples} samples of {info.shape[0]}×{info.shape[1]} vertices")


def _fractions(text: str) -> Any:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"split must be three fractions separated by commas, got {text!r}") from None


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """An executor that runs on the workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("a scheduler needs the extra: pip install pdebench-mano[distributed]") from None
    with Client(address, timeout=10) as client:
        yield client.get_executor()


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Dataset file.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Recompute residuals, checksums, flux balance, maximum principle.")
    ] = False,
    richardson: Annotated[
        bool, typer.Option("--richardson", help="Estimate the discretisation error of three labels by finer solves.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON objects, one a line, on stdout.")] = False,
) -> None:
    """Show what a dataset file says about itself, and check it.

    With --verify, one line for each thing wrong with a sample, and exit status 1 if there is any.
    """
    from data_gen import convergence, storage, verification
    from pdebench_mano.machine.progress import bar

    with storage.open_hdf5(file) as data:
        with bar("verify") as progress:
            findings = list(verification.verify(data, progress)) if verify else []
        summary = _summary(data) if not findings else {}
        estimates = list(convergence.richardson(data)) if richardson and not findings else []
    for finding in findings:
        print(json.dumps({"sample": finding.sample, "problem": finding.message}) if as_json else finding)
    if findings:
        raise typer.Exit(1)
    if as_json:
        print(json.dumps(summary | ({"verified": True} if verify else {})))
    else:
        for key, value in summary.items():
            print(f"{key:24}{'unknown' if value is None else ' '.join(str(value).split())}")
        if verify:
            print(f"{'verified':24}all {summary['samples']} samples")
    for estimate in estimates:
        if as_json:
            print(json.dumps(estimate._asdict() | ({"order": None} if np.isnan(estimate.order) else {})))
        else:
            order = "unknown" if np.isnan(estimate.order) else f"{estimate.order:.2f}"
            print(f"sample {estimate.sample}: relative L2 error about {estimate.relative_l2:.2g}, order {order}")


def _summary(data: Any) -> dict[str, Any]:
    from data_gen.storage import checked

    info = checked(Path(data.filename), data)
    residual = data["quality/relative_residual"][:]
    solvers, counts = np.unique(data["quality/solver"][:], return_counts=True)
    known = np.isfinite(residual).all()
    return {
        "path": str(info.path),
        "samples": info.samples,
        "shape": list(info.shape),
        "splits": {name: len(indices) for name, indices in info.splits.items()},
        "max_relative_residual": float(residual.max()) if known else None,
        "solved_by": {k.decode(): int(n) for k, n in zip(solvers, counts, strict=True)} if known else None,
        **info.attributes,
    }


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="A dataset: .pt (neuraloperator), .mat (FNO), HDF5 (PDEBench or ours).")
    ],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[
        Literal["schema", "neuralop", "fno", "pdebench", "the_well"] | None,
        typer.Option(help="Format of the target; by default from its suffix: .pt, .mat, else our schema."),
    ] = None,
    grid: Annotated[Literal["vertices", "left"] | None, typer.Option(help="Import: kind of grid.")] = None,
    source_term: Annotated[float | None, typer.Option("--source", help="Import: constant source f.")] = None,
    boundary: Annotated[str | None, typer.Option(help='Import: boundary condition, such as "u = 0".')] = None,
    law: Annotated[str | None, typer.Option(help="Import: law of the coefficient, in words.")] = None,
    split: Annotated[str | None, typer.Option(help="Export: only the samples of this split.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Export: an exact stride of the grid.")] = None,
) -> None:
    """Convert a dataset of another project into our schema, or ours into theirs.

    What a foreign file does not say and no option tells is marked unknown.
    """
    from data_gen import convert as run

    run(
        source,
        target,
        to=to,
        grid=grid,
        f=source_term,
        boundary=boundary,
        law=law,
        split=split,
        resolution=resolution,
    )
    print(f"{target} written")
