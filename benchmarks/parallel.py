"""Train a suite's runs side by side, then evaluate and report them as ``pdebench-mano benchmark`` does.

    python benchmarks/parallel.py forward_only --out OUT --processes 8

Small models leave most of a GPU idle: several processes share it. Tuning first, then the chosen settings from every
seed. What is done is skipped, so the two ways of running a suite go on from each other.
"""

import argparse
import math
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from pdebench_mano.benchmark import Case, prepare, run_name, run_suite, suite_cases
from pdebench_mano.cli.results import packaged
from pdebench_mano.runs import RunConfig
from pdebench_mano.suite import read_suite

Job = tuple[str, RunConfig]


def fit(config: RunConfig, run: Path) -> float:
    """Train one run in a process of its own; returns its validation error, infinite if it diverged."""
    import torch

    from pdebench_mano.runs import train

    torch.set_num_threads(1)
    try:
        return train(config, run).best_validation
    except ValueError:  # diverged
        return math.inf


def fit_all(pool: ProcessPoolExecutor, jobs: Iterable[Job], runs: Path, data: str) -> dict[str, float]:
    """Train every job once, the same run only once; run name → validation error."""
    named = {run_name(model, config, data): config for model, config in jobs}
    start, futures = time.perf_counter(), {}
    for name, config in named.items():
        futures[pool.submit(fit, config, runs / name)] = name
    errors = {}
    for number, future in enumerate(as_completed(futures), 1):
        name = futures[future]
        errors[name] = future.result()
        print(f"[{number}/{len(named)}] {time.perf_counter() - start:6.1f} s  {errors[name]:.4f}  {name}", flush=True)
    return errors


def chosen(case: Case, errors: dict[str, float]) -> RunConfig:
    """The case's configuration with the settings of its best trial."""
    if not case.trials:
        return case.config
    best = min(case.trials, key=lambda trial: errors[run_name(case.model, trial, case.data)])
    return best.model_copy(update={"seed": case.config.seed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="TOML file, or the name of a suite that comes with the package")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    path = Path(options.suite) if Path(options.suite).exists() else packaged(options.suite)
    suite = read_suite(path)
    train_file, _, data = prepare(suite.data, options.out / "data", path.parent, shown=False)
    cases = list(suite_cases(suite, train_file, data))
    runs = options.out / "runs"
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        errors = fit_all(pool, ((case.model, trial) for case in cases for trial in case.trials), runs, data)
        fit_all(pool, ((case.model, chosen(case, errors)) for case in cases), runs, data)
    command = f"pdebench-mano benchmark {options.suite} --out {options.out}"
    run_suite(suite, options.out, folder=path.parent, command=command, say=print)


if __name__ == "__main__":
    main()
