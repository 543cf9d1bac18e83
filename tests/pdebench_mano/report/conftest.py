"""Records that no training made, to see what becomes of them."""

import numpy as np
import pytest

from pdebench_mano.evaluation.records import Evaluation, Record, Spectra

SAMPLES = 12
DATASET = {"digest": "d" * 64}


def row(model, kind, resolution=9, computed_at=9, errors=None):
    """One row, of errors that its name determines if none are given."""
    if errors is None:
        errors = np.random.default_rng(list(f"{model} {kind}".encode())).uniform(0.1, 0.2, SAMPLES)
    spectra = Spectra(*(3 * [[1.0, 0.5, 0.25, 0.125]]))
    values = {metric: [float(each) for each in errors] for metric in ("relative_l2", "band_0_4", "band_4_inf")}
    return Evaluation(model, resolution, computed_at, values, spectra, 0.01, kind)


@pytest.fixture(scope="session")
def made():
    """A function that makes a record: of an operator, with the rows that its kind has, unless others are given."""

    def make(model="fno", rows=None, *, seed=0, training=None, trained_at=9, config=None, references=False):
        own = [row(model, "operator"), row(model, "operator", 17, 17), row(f"upsampled {model}", "upsampled", 17)]
        settings = {"operator": "fno", "lr": 1e-3, "epochs": 2, "seed": seed} | (config or {})
        data = {"digest": DATASET["digest"], "resolution": trained_at}
        return Record(
            key=f"{model} {seed}",
            model=model,
            seed=0 if references else seed,
            budget="" if references else f"{settings['epochs']} epochs",
            configuration={} if references else {"config": settings, "data": data},
            training=training or {},
            history=[] if references else [{"epoch": 1.0, "loss": 0.5, "validation": 0.5}],
            dataset=DATASET,
            samples=list(range(SAMPLES)),
            evaluations=own if rows is None else rows,
            commands=["typed"],
            environment={"device": "cpu", "source": "s"},
        )

    return make


@pytest.fixture(scope="session")
def references(made):
    """A function that makes the record of references, as suites do, with solvers and their trials."""

    def make(errors=None, schemes=None, resolution=9):
        errors = errors or {"arithmetic": None, "harmonic": None}
        rows = [
            row(f"solver, {name}", "solver", n, computed_at=resolution, errors=each)
            for name, each in errors.items()
            for n in (9, 17)
        ]
        rows += [row("mean solution", "mean"), row("label uncertainty", "labels", errors=[0.01, 0.02])]
        trials = [
            {"configuration": {"solver": name, "resolution": n}, "validation": error}
            for (name, n), error in (schemes or {}).items()
        ]
        return made("baselines", rows, training={"trials": trials} if trials else {}, references=True)

    return make
