"""Time of a training step of every preset, as a ratio to FNO's of the same name.

    python benchmarks/preset_times.py [--resolution 43] [--batch-size 8]

One thread; the processor's time, so that other work on the machine counts little. The fastest of five steps.
"""

import argparse
import time

import torch

from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import build_operator


def step_seconds(name: str, preset: str, resolution: int, batch_size: int) -> float:
    """Forward, squared error, backward, AdamW."""
    torch.manual_seed(0)
    operator = build_operator(name, 1, 1, preset=preset)
    optimizer = torch.optim.AdamW(operator.parameters())
    a = torch.randn(batch_size, 1, resolution, resolution)
    times = []
    for _ in range(6):
        start = time.process_time()
        optimizer.zero_grad()
        operator(a).square().mean().backward()
        optimizer.step()
        times.append(time.process_time() - start)
    return min(times[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=43)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for preset in PRESETS["fno"]:
        seconds = {name: step_seconds(name, preset, given.resolution, given.batch_size) for name in PRESETS}
        for name, each in seconds.items():
            print(f"{preset:10} {name:14} {each:6.3f} s {each / seconds['fno']:6.2f}")
