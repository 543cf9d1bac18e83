"""Solutions in time, as an operator of one step sees them: state by state, and rolled out.

An operator of a step maps a state, and the inputs that are no state, to the next state: its channels are those of the
outputs, then those of the other inputs. Applied to what it has predicted, again and again, it is a rollout.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, cat, stack

from data_gen.counts import check_count
from data_gen.problem import Field, Problem, Symmetry
from data_gen.storage import DatasetInfo
from pdebench_mano.fields.data import CACHE_BYTES, Dataset, Stored, View
from pdebench_mano.fields.operator import Fields

Trajectories = Float[Tensor, "batch times outputs height width"]


def roll(step: Callable[[Fields], Fields], a: Fields, steps: int, detach: bool = False) -> Trajectories:
    """The states after 1, 2, …, `steps` applications of `step`.

    Parameters
    ----------
    step : callable
        (state, other inputs) ↦ the next state.
    a : (batch, channels, height, width) tensor
        A state, and after its channels those of the other inputs, which stay.
    steps : int
    detach : bool
        Whether to cut the graph between steps, so that no gradient flows from one into those before it.

    Raises
    ------
    ValueError
        If there cannot be so many.
    """
    check_count("steps", steps)
    states = [step(a)]
    for _ in range(steps - 1):
        state = states[-1].detach() if detach else states[-1]
        states.append(step(cat([state, a[:, state.shape[1] :]], 1)))
    return stack(states, 1)


class Steps(View):
    """Pairs ((state, inputs that are no state), next state), beginning with the state at t = 0.

    A pair is a sample and one of its steps: all steps of the first sample, then those of the next. What a view says of
    its samples, it says of trajectories. The parameters are those of `View`.

    Attributes
    ----------
    times : tuple of float
        When the states after the first are.

    Raises
    ------
    ValueError
        If the times of the file are not evenly spaced from 0, and as `View`.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str | None = None,
        resolution: int | None = None,
        *,
        indices: Any = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.times = evenly_spaced(dataset.info)
        super().__init__(dataset, split, resolution, indices=indices, cache_bytes=cache_bytes)
        self.inputs = self.outputs + others(self.info.inputs, self.outputs)

    def __len__(self) -> int:
        return self.windows(1)

    def windows(self, length: int) -> int:
        """How many times so many steps follow one another in the trajectories."""
        return len(self.samples) * max(0, len(self.times) + 1 - length)

    def window(self, indices: Any, length: int) -> tuple[Fields, Trajectories]:
        """States with the inputs that are no state, and the `length` states that follow each."""
        samples, first = np.divmod(np.asarray(indices, dtype=int), len(self.times) + 1 - length)
        places = np.concatenate([self._places(first), *(self._places(first + 1 + k, False) for k in range(length))], 1)
        fields = self._fields(samples, places)
        inputs, outputs = self.channels
        return fields[:, :inputs], fields[:, inputs:].unflatten(1, (length, outputs))

    def batch(self, indices: Any) -> tuple[Fields, Fields]:
        a, u = self.window(indices, 1)
        return a, u[:, 0]

    @property
    def symmetries(self) -> Sequence[Symmetry]:
        """Those of the problem, with the signs of states where states are inputs."""
        given = [field.name for field in self.info.inputs]
        return [
            each._replace(
                inputs=(each.outputs or (1,) * len(self.info.outputs))
                + tuple((each.inputs or (1,) * len(given))[given.index(name)] for name in self._conditions)
            )
            for each in super().symmetries
        ]

    def given(self, a: Fields) -> Fields:
        """The inputs of the problem, of a state that it begins with and the inputs that are no state."""
        names = [field.name for field in self.inputs]
        return a[:, [names.index(field.name) for field in self.info.inputs]]

    @property
    def restartable(self) -> bool:
        """Whether the problem can be given any state to begin with: one that all its outputs are inputs of."""
        return {field.name for field in self.info.outputs} <= {field.name for field in self.info.inputs}

    @property
    def _conditions(self) -> list[str]:
        """Names of the inputs that are no state."""
        return [field.name for field in others(self.info.inputs, self.info.outputs)]

    @property
    def _kept(self) -> int:
        return len(self.info.inputs) + (len(self.info.times) + 1) * len(self.info.outputs)

    def _places(self, times: np.ndarray, conditions: bool = True) -> np.ndarray:
        """Where, among the fields that are kept of a sample, states are, and after them the other inputs."""
        given, outputs = [field.name for field in self.info.inputs], len(self.info.outputs)
        states = len(given) + times[:, None] * outputs + np.arange(outputs)
        beside = [given.index(name) for name in self._conditions] if conditions else []
        return np.concatenate([states, np.tile(np.array(beside, dtype=int), (len(times), 1))], 1)

    def _solution(self, sample: int | np.integer, a: Stored) -> Stored:
        problem = self.dataset.problem
        if problem is None:
            problem = Problem()
            problem.inputs, problem.outputs = self.info.inputs, self.info.outputs
        later = self.dataset.file["tensor"][sample].reshape(-1, *self.info.shape)
        return np.concatenate([problem.initial(a, self.info.grid), later], dtype=np.float32)


class Rollouts(Steps):
    """Pairs ((state at `start`, inputs that are no state), all states after it), one for each sample.

    States are stacked: an output of the first of them, then its others, then those of the next.

    Parameters
    ----------
    start : float
        0, or one of the times of the file but the last.
    others
        Those of `View`.

    Raises
    ------
    ValueError
        For another start, and as `Steps`.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str | None = None,
        resolution: int | None = None,
        *,
        start: float = 0.0,
        indices: Any = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(dataset, split, resolution, indices=indices, cache_bytes=cache_bytes)
        starts = (0.0, *self.times[:-1])
        near = np.isclose(starts, start, rtol=1e-6, atol=1e-9)
        if not near.any():
            known = ", ".join(f"{each:g}" for each in starts)
            raise ValueError(f"start must be a time of {self.path} but the last, {known}, got {start:g}")
        self.start = starts[int(near.argmax())]
        self.first = int(near.argmax())
        self.times = self.times[self.first :]
        self.outputs = self.info.outputs * len(self.times)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Any) -> tuple[Fields, Fields]:
        samples = np.asarray(indices, dtype=int)
        first = np.full(len(samples), self.first)
        later = (self._places(first + 1 + k, False) for k in range(len(self.times)))
        fields = self._fields(samples, np.concatenate([self._places(first), *later], 1))
        a, u = fields.split(self.channels, 1)
        return a, u


def others(inputs: Sequence[Field], outputs: Sequence[Field]) -> tuple[Field, ...]:
    """The inputs that are no state: those that are not called as an output is."""
    states = {field.name for field in outputs}
    return tuple(field for field in inputs if field.name not in states)


def evenly_spaced(info: DatasetInfo) -> tuple[float, ...]:
    """The times of a file, if steps of one length lead from 0 to each.

    Raises
    ------
    ValueError
        If they do not, or the solutions are stationary.
    """
    times = np.array(info.times)
    if not len(times):
        raise ValueError(f"pairs='step' needs solutions in time, and those of {info.path} are stationary")
    if not np.allclose(times, times[0] * np.arange(1, len(times) + 1), rtol=1e-6):
        found = ", ".join(f"{t:g}" for t in times)
        raise ValueError(f"pairs='step' needs times that are evenly spaced from 0; {info.path} has {found}")
    return info.times
