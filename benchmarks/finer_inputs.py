"""Is it a sharper medium that puts an operator off on finer grids? Errors by what it is shown there, none trained anew.

    python benchmarks/finer_inputs.py RUN… --data test.hdf5 --resolutions 37,73 --split test --out finer_inputs.json

The medium of a wave comes to a coarser grid by means over control volumes (`data_gen.problems.helmholtz`), so that an
operator was trained on the medium's mean over a box of the training spacing H, known at the points of that grid. On a
finer grid it is shown

    as it is            the means over smaller boxes, with sharper interfaces;
    hat                 that, smoothed as MANO's `input_spacing` does (`pdebench_mano.fields.smoothing`);
    box                 the mean over a box of width H about every point: what a point of the training grid would show,
                        of the medium as it is stored;
    box, hat            the mean, over all places of the training grid, of the piecewise linear interpolants;
    interpolated        that interpolant of the training grid where it is: nothing that training did not show;
    box, gathered at H  as `box`, and in MANO the lattice gathers the features of the points of the training grid alone,
                        so that there all is as in training. Where the training grid's points are among the finer ones.

`upsampled` reads the training grid, and interpolates the prediction. Errors are means over samples, by the integral.
`finer_inputs.json` is what the commands in docs/pages/results/finer-grids.md left.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table

from baselines.upsampling import Upsampled
from pdebench_mano import Dataset, load, relative_l2
from pdebench_mano.fields.lattice import axis, interpolation
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.smoothing import averaged, smoothed
from pdebench_mano.machine.provenance import provenance
from pdebench_mano.mano import anchored

BATCH = 10
GATHERED = "box, gathered at H"
KIND = "vertices"


def box(ratio: float) -> list[float]:
    """Weights of the mean over boxes `ratio` times as wide as control volumes, on each of which a field is constant."""
    reach = max(0, ceil((ratio - 1) / 2 - 1e-6))
    ends = max(1.0, ratio) / 2
    return [(min(j + 0.5, ends) - max(j - 0.5, -ends)) / (2 * ends) for j in range(-reach, reach + 1)]


def interpolated(field: Fields, points: int) -> Fields:
    """The piecewise linear interpolant on `points` vertices a side."""
    fine, coarse = (axis(n, KIND, field.device) for n in (points, field.shape[-1]))
    weights = interpolation(fine, coarse, KIND).to(field)
    return weights @ field @ weights.T


@contextmanager
def gathered_at(points: int) -> Iterator[None]:
    """Have MANO gather the features of a grid of `points` a side alone, whose points are among the data's."""
    whole = anchored.gather_beside

    def gather(field: Any, *where: Any) -> Any:
        stride = (field.shape[1] - 1) // (points - 1)
        return whole(field[:, ::stride, ::stride], *where)[0], field

    with mock.patch.object(anchored, "gather_beside", gather):
        yield


def measure(run: str, data: Dataset, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Mean errors of a trained operator by resolution and by what it is shown."""
    operator = load(run, device=args.device)
    config = json.loads((Path(run) / "config.json").read_text())["config"]
    own = config["resolution"] if isinstance(config["resolution"], int) else config["resolution"][0]
    spacing = 1 / (own - 1)
    count = min(args.samples, len(data.view(args.split)))
    coarse, truth = data.view(args.split, own).batch(range(count))
    boxes = averaged(data.view(args.split).batch(range(count))[0], spacing, KIND, box)

    def row(resolution: int, shown: str, predictor: Any, a: Fields, u: Fields) -> dict[str, Any]:
        predicted = torch.cat([predictor.predict(each.to(args.device)).cpu() for each in a.split(BATCH)])
        error = relative_l2(predicted, u, norm="integral").mean().item()
        return {"run": Path(run).name, "resolution": resolution, "shown": shown, "error": float(f"{error:.3g}")}

    yield row(own, "as it is", operator, coarse, truth)
    for n in args.resolutions:
        a, u = data.view(args.split, n).batch(range(count))
        yield row(n, "upsampled", Upsampled(operator, u.shape[-2:]), coarse, u)
        stride = data.grid.coarsened(n)[1]
        means = boxes[..., ::stride, ::stride]
        shown = {"as it is": a, "hat": smoothed(a, spacing, KIND)}
        shown |= {"box": means, "box, hat": smoothed(means, spacing, KIND)}
        for name, each in {**shown, "interpolated": interpolated(coarse, n)}.items():
            yield row(n, name, operator, each, u)
        if config["operator"] == "mano" and not (n - 1) % (own - 1):
            with gathered_at(own):
                yield row(n, GATHERED, operator, means, u)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--data", required=True)
    parser.add_argument("--resolutions", type=lambda typed: [int(n) for n in typed.split(",")], default=[37, 73])
    parser.add_argument("--split", default="test")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    data = Dataset(args.data)
    rows = [row for run in args.runs for row in measure(run, data, args)]
    shown = list(dict.fromkeys(row["shown"] for row in rows))
    table = Table("run", "grid", *shown)
    for run, n in dict.fromkeys((row["run"], row["resolution"]) for row in rows):
        found = {row["shown"]: row["error"] for row in rows if (row["run"], row["resolution"]) == (run, n)}
        table.add_row(run, f"{n}²", *(f"{found[each]:.4f}" if each in found else "" for each in shown))
    Console(width=160).print(table)
    if args.out:
        made = {"split": args.split, "samples": args.samples, "environment": provenance(), "rows": rows}
        args.out.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
