"""Times of operators, and of the solvers that stand beside them: a measurement of its own.

One process takes them one after another on one device that does nothing else, from inputs on the device to solutions
there. *Latency* is the time of one sample alone; *throughput* that of one sample within the batch that serves it
fastest, of 1, 2, 4, … samples. Errors in records are those of float32. An operator runs in half the precision where its
error does not feel that, as a solver runs to the loosest tolerance that its error does not feel: in bfloat16 if it was
trained in it, on a GPU else in float16. There operators run as a CUDA graph, too. A CPU is one core: a solve takes no
more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pdebench_mano.evaluation.timing.rows import ONE_CORE, TIMES, Timing, architecture, read_times, write_times

if TYPE_CHECKING:
    from pdebench_mano.evaluation.timing.contender import Contender
    from pdebench_mano.evaluation.timing.contenders import Entrant, Untrained, labels, operators, solvers
    from pdebench_mano.evaluation.timing.stopwatch import Stopwatch
    from pdebench_mano.evaluation.timing.throughput import take

_PLACES = {
    "contender": ("Contender",),
    "contenders": ("Entrant", "Untrained", "labels", "operators", "solvers"),
    "stopwatch": ("Stopwatch",),
    "throughput": ("take",),
}

__all__ = [
    "ONE_CORE",
    "TIMES",
    "Contender",
    "Entrant",
    "Stopwatch",
    "Timing",
    "Untrained",
    "architecture",
    "labels",
    "operators",
    "read_times",
    "solvers",
    "take",
    "write_times",
]


def __getattr__(name: str) -> Any:
    """Import what takes times on first use: times that were taken are read without torch."""
    for place, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
