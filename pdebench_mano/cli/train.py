"""``pdebench-mano train``."""

from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli.app import app, console, integers, key_values


@app.command()
def train(
    operator: Annotated[str, typer.Option(help="Registered name, module:Class or file.py:Class.")],
    data: Annotated[Path, typer.Option(help="Dataset file.")],
    out: Annotated[Path, typer.Option(help="Run folder to make, or to go on with.")],
    operator_args: Annotated[
        list[str] | None, typer.Option(help="key=value …, given to the operator; or preset=NAME.")
    ] = None,
    regime: Annotated[str, typer.Option(help="How gradients are made.")] = "backprop",
    regime_args: Annotated[list[str] | None, typer.Option(help="key=value …, given to the regime.")] = None,
    resolution: Annotated[
        str | None, typer.Option(help="Training resolution, an exact stride of the stored one; several as 33,65.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training samples.")] = 24,
    seconds: Annotated[float | None, typer.Option(help="Training time, instead of epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Samples in one step, over all processes.")] = 16,
    optimizer: Annotated[str, typer.Option(help="adamw; or muon, with adamw for what is no linear map.")] = "adamw",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    weight_decay: Annotated[float, typer.Option(help="Decoupled weight decay.")] = 1e-4,
    schedule: Annotated[str, typer.Option(help="cosine, one-cycle or constant.")] = "cosine",
    loss: Annotated[str, typer.Option(help="Training loss, on physical fields.")] = "relative_l2",
    h1: Annotated[float, typer.Option(help="Weight of the relative error of the gradient in the loss.")] = 0.0,
    clip_norm: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights that are kept; 0 for none.")] = 0.0,
    symmetries: Annotated[bool, typer.Option(help="Augment by the symmetries of the square.")] = False,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    compile: Annotated[bool, typer.Option(help="Compile the operator with torch.compile.")] = False,
    cuda_graphs: Annotated[bool, typer.Option(help="On a GPU, record the step once and replay it.")] = False,
    alignment: Annotated[bool, typer.Option(help="Compare updates with backpropagation's, epoch by epoch.")] = False,
    validation: Annotated[float, typer.Option(help="Fraction set aside where the file has no val split.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of weights, batches and augmentation.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one.")] = None,
    track: Annotated[str | None, typer.Option(help="Send the history to tensorboard or wandb, too.")] = None,
) -> None:
    """Train an operator on the training split of a dataset; the same command again resumes.

    The epoch with the lowest validation error is kept. Under torchrun, every process takes its share
    of each batch.
    """
    from pdebench_mano import runs

    sizes = integers(resolution, "--resolution") if resolution else None
    config = runs.parse_config(
        {
            "operator": operator,
            "operator_args": key_values(operator_args, "--operator-args"),
            "regime": regime,
            "regime_args": key_values(regime_args, "--regime-args"),
            "data": str(data),
            "resolution": sizes[0] if sizes and len(sizes) == 1 else sizes,
            "validation": validation,
            "epochs": epochs,
            "seconds": seconds,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "lr": lr,
            "weight_decay": weight_decay,
            "schedule": schedule,
            "loss": loss,
            "h1": h1,
            "clip_norm": clip_norm,
            "ema": ema,
            "symmetries": symmetries,
            "precision": precision,
            "compile": compile,
            "cuda_graphs": cuda_graphs,
            "alignment": alignment,
            "seed": seed,
        }
    )
    complete = (out / "summary.json").exists()
    history = runs.train(config, out, device=device, progress=True, track=track)
    console.print(
        f"{out}: {'was complete already' if complete else 'trained'}, best epoch {history.best_epoch} of "
        f"{len(history.epochs)}, validation error {history.best_validation:.4f}, {history.seconds:.0f} s of training",
        highlight=False,
        soft_wrap=True,
    )
