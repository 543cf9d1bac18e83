"""Commands on dataset files: generate, inspect, convert."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, key_values

if TYPE_CHECKING:
    from typer import Context
else:
    Context = typer.Context.__base__  # Click's, or that of the copy inside newer Typers, which is what commands get

LAWS = "piecewise, lognormal, inclusions, channels, mixture, module:function, file.py:function or file.npy."


@app.command()
def generate(
    context: Context,
    samples: Annotated[int, typer.Option(help="Number of samples.")],
    resolution: Annotated[
        str, typer.Option(help="Points a side, or along x and y: N or NxM; of vertices, boundary included.")
    ],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    problem: Annotated[
        str,
        typer.Option(
            help="The equation: a name that `problems` lists, module:Class or file.py:Class.",
            autocompletion=completion.problems,
        ),
    ] = "darcy",
    problem_args: Annotated[list[str] | None, typer.Option(help="Parameters of the problem, key=value …")] = None,
    law: Annotated[
        str, typer.Option(help="Law of the coefficient: " + LAWS, autocompletion=completion.laws)
    ] = "piecewise",
    law_args: Annotated[list[str] | None, typer.Option(help="Parameters of the law, key=value …")] = None,
    source: Annotated[str, typer.Option(help="Source f: a number, a .npy file or module:function of (x, y).")] = "1",
    mean: Annotated[
        Literal["arithmetic", "harmonic", "geometric", "average", "auto"],
        typer.Option(
            help="Face means of the coefficient; average: of the arithmetic and the harmonic solution; auto: as suits "
            "the law."
        ),
    ] = "arithmetic",
    method: Annotated[Literal["auto", "cg", "direct"], typer.Option(help="Solver.")] = "auto",
    rtol: Annotated[
        float, typer.Option(help="Bound on what is measured of each sample; by default the problem's own.")
    ] = 1e-10,
    split: Annotated[str, typer.Option(help="Fractions of train,val,test, in the order of samples.")] = "0.8,0.1,0.1",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    shard_size: Annotated[int | None, typer.Option(help="Samples in a shard, the most a kill loses a worker.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda to solve in batches on a GPU.")] = "cpu",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler; its workers must see OUT.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="With a scheduler: make one file, no shards.")] = False,
    label_refinement: Annotated[
        int, typer.Option(help="Solve on this many times as many intervals, and bring the solutions down.")
    ] = 1,
) -> None:
    """Generate a dataset: random inputs of an equation, and verified solutions for them.

    Without --problem, coefficients a and solutions u of -div(a grad u) = f. The options --law, --law-args, --source,
    --mean and --method are parameters of that problem, and of others that have such.

    The same command again resumes a partial output and leaves a complete one as it is. Its card lies beside it,
    OUT.md.
    """
    from data_gen import generate as run
    from data_gen.card import card_path, write_card
    from pdebench_mano.machine.progress import bar
    from pdebench_mano.machine.workers import dask_workers

    origins = {name: context.get_parameter_source(name) for name in context.params}
    typed = {name for name, origin in origins.items() if origin is not None and origin.name != "DEFAULT"}
    parameters: dict[str, Any] = {"law": law, "law_args": law_args, "source": source, "mean": mean, "method": method}
    parameters = {name: value for name, value in parameters.items() if name in typed}
    if "law_args" in parameters:
        parameters["law_args"] = key_values(law_args, "law-args")
    given = key_values(problem_args, "problem-args")
    _check_parameters(problem, parameters, given)

    existed = out.exists()
    with ExitStack() as stack:
        info = run(
            out,
            samples,
            shape_of(resolution),
            problem=problem,
            problem_args=given | parameters,
            seed=seed,
            rtol=rtol if "rtol" in typed else None,
            split=_fractions(split),
            device=device,
            workers=workers,
            executor=stack.enter_context(dask_workers(scheduler)).executor if scheduler is not None else None,
            shard_size=shard_size,
            merge=merge or scheduler is None,
            label_refinement=label_refinement,
            progress=stack.enter_context(bar("samples generated")),
        )
    if not (existed and card_path(info.path).exists()):
        write_card(info.path)
    state = "is already complete" if existed else "written"
    points = "vertices" if info.grid.kind == "vertices" else "points"
    print(f"{info.path} {state}: {info.samples} samples of {info.grid} {points}")
    if (shards := out.with_name(f"{out.name}.shards")).is_dir():  # which a merged file does not leave
        print(f"its values lie in {shards}: copy or move both, or run the same with --merge, which makes one file")


def _check_parameters(problem: str, typed: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse options that the problem has no parameter for, or that --problem-args says too."""
    from data_gen.problems import defaults

    known = defaults(problem)
    for name in typed:
        option = "--" + name.replace("_", "-")
        if name not in known:
            raise ValueError(f"{option} is no parameter of problem {problem!r}: it has {', '.join(known) or 'none'}")
        if name in given:
            raise ValueError(f"{name} is given twice, by {option} and by --problem-args")


def shape_of(text: str) -> tuple[int, int]:
    """``"33"`` → ``(33, 33)``, ``"33x17"`` → ``(33, 17)``.

    Raises
    ------
    ValueError
        For anything else.
    """
    words = text.lower().replace("×", "x").split("x")
    try:
        n, m = (int(word) for word in (words * 2 if len(words) == 1 else words))
    except ValueError:
        raise ValueError(f"resolution must be N or NxM, got {text!r}") from None
    return n, m


def _fractions(text: str) -> Any:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"split must be three fractions separated by commas, got {text!r}") from None


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Dataset file.")],
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Recompute checksums, and what the problem can check of each solution."),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where --verify solves again for labels of a finer grid: cpu, or cuda.")
    ] = "cpu",
    richardson: Annotated[
        bool, typer.Option("--richardson", help="Estimate the discretisation error of three labels by finer solves.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run a problem or a law that is code of somebody's own.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="The dataset's card, in Markdown, instead: what it is and how it was made.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON objects, one a line, on stdout.")] = False,
) -> None:
    """Show what a dataset file says about itself, and check it.

    With --verify, one line for each thing wrong with a sample, and exit status 1 if there is any.
    """
    from data_gen import convergence, storage, verification
    from data_gen.card import card as card_of
    from data_gen.generate import check_device
    from pdebench_mano.machine.progress import bar

    check_device(device)
    if card and as_json:
        raise ValueError("--card is Markdown and --json is JSON: give one of the two")

    with storage.open_hdf5(file) as data:
        with bar("samples verified") as progress:
            findings = list(verification.verify(data, progress, trust=trust, device=device)) if verify else []
        summary = _summary(data) if not findings else {}
        text = card_of(data) if card and not findings else ""
        estimates = list(convergence.richardson(data, trust=trust)) if richardson and not findings else []
    for finding in findings:
        print(json.dumps({"sample": finding.sample, "problem": finding.message}) if as_json else finding)
    if findings:
        raise typer.Exit(1)
    if as_json:
        print(json.dumps(summary | ({"verified": True} if verify else {})))
    elif card:
        print(text, end="")
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
    from data_gen import storage

    info = storage.checked(Path(data.filename), data)
    evidence = storage.evidence_of(data)
    solvers, counts = np.unique(data["quality/solver"][:], return_counts=True)
    criteria, met = np.unique(data["quality/accepted_by"][:], return_counts=True)
    known = np.isfinite(evidence).all()
    return {
        "path": str(info.path),
        "samples": info.samples,
        "shape": list(info.shape),
        "splits": {name: len(indices) for name, indices in info.splits.items()},
        f"max_{'relative_residual' if info.version == 1 else 'evidence'}": float(evidence.max()) if known else None,
        "solved_by": {k.decode(): int(n) for k, n in zip(solvers, counts, strict=True)} if known else None,
        "accepted_by": {k.decode(): int(n) for k, n in zip(criteria, met, strict=True)} if known else None,
        **info.attributes,
        "problem": info.problem,
        "parameters": info.parameters,
        "inputs": [each._asdict() for each in info.inputs],
        "outputs": [each._asdict() for each in info.outputs],
        "times": list(info.times),
    }


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A dataset: .pt (neuraloperator), .mat (FNO), HDF5 (PDEBench, The Well, any arrays, or ours), .nc, "
            ".npz, or .npy beside others."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[
        Literal["schema", "netcdf", "neuralop", "fno", "pdebench", "the_well", "arrays"] | None,
        typer.Option(help="Format of the target; by default from its suffix: .pt, .mat, .nc, .npz, else our schema."),
    ] = None,
    grid: Annotated[Literal["vertices", "left", "periodic"] | None, typer.Option(help="Import: kind of grid.")] = None,
    source_term: Annotated[float | None, typer.Option("--source", help="Import: constant source f.")] = None,
    boundary: Annotated[str | None, typer.Option(help='Import: boundary condition, such as "u = 0".')] = None,
    law: Annotated[str | None, typer.Option(help="Import: law of the coefficient, in words.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Import: fractions of train,val,test in the order of samples, as 0.8,0.1,0.1; arrays of indices, as "
            "train=NAME,test=NAME; or pdebench, whose first tenth is the test. Export: only the samples of this split."
        ),
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Export: an exact stride of the grid.")] = None,
    inputs: Annotated[
        str | None,
        typer.Option(help="Import: arrays that are inputs, as kappa,q or FIELD=ARRAY; a channel is a field."),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="Import: arrays that are outputs. An input called as one is its state at t = 0.")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Import: axes of the arrays, a letter each of s sample, t time, c channel, x, y: scxy, or of inputs "
            "and outputs sxy,sxyt."
        ),
    ] = None,
) -> None:
    """Convert a dataset of another project, or of your own, into our schema, or ours into theirs.

    What was inferred of a foreign file is said in a line each. What it does not say and no option tells is marked
    unknown.
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
        inputs=_names(inputs),
        outputs=_names(outputs),
        axes=axes or "",
        say=print,
    )
    print(f"{target} written")


def _names(text: str | None) -> list[str]:
    return [word.strip() for word in text.split(",")] if text else []
