"""What an equation says of itself: how its inputs are drawn and solved for, and what is true of its solutions.

A problem is a frozen dataclass whose fields are its parameters. `draw` and `solve` are enough::

    @dataclass(frozen=True)
    class Poisson(Problem):
        name = "poisson"
        inputs, outputs = (Field("source", "f"),), (Field("solution", "u"),)

        def draw(self, grid, rng, index): ...
        def solve(self, a, grid, *, rtol=None): ...

Everything else has a default, which an equation that can say more overrides. Inputs are arrays (inputs, *shape),
solutions (times, outputs, *shape), with one time where the problem is stationary.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from data_gen.grid import Grid, Kind

Inputs = Float[np.ndarray, "inputs *shape"]
Trajectory = Float[np.ndarray, "times outputs *shape"]

POINTS_PER_BATCH = 2**24

FLOAT32 = 2.0**-24
"""How far rounding to float32 moves a value, relative to itself."""

ROUNDING = 1e-5
"""How far a stored float32 solution may be from the one that is solved for again, relative to its largest value."""


class Field(NamedTuple):
    """A quantity on the grid: what it is called, its symbol in formulas, and whether it must be positive."""

    name: str
    symbol: str
    positive: bool = False


class Solution(NamedTuple):
    """A solution, and what speaks for it.

    Attributes
    ----------
    u : (times, outputs, *shape) float64 array
        One time where the problem is stationary.
    evidence : float
        What was measured of it: a relative residual, an estimate of its error.
    accepted_by : {"rtol", "floor", "step"}
        The criterion that it met.
    method : str
        What solved it.
    """

    u: np.ndarray
    evidence: float
    accepted_by: str
    method: str


class Symmetry(NamedTuple):
    """A map of fields that takes solutions to solutions: new axis i is old axis axes[i]; then flips; then shifts.

    Attributes
    ----------
    axes : tuple of int
    flips : tuple of bool
        Which of the new axes are reversed.
    shifts : tuple of float
        Fractions of the side, multiples of the spacing, along periodic axes only; () is none.
    inputs, outputs : tuple of int
        Signs of the fields; () is +1.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    shifts: tuple[float, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def apply(self, field: Float[np.ndarray, "*shape"]) -> np.ndarray:
        """The map of one field, signs apart."""
        field = field.transpose(self.axes)
        field = np.flip(field, tuple(i for i, flip in enumerate(self.flips) if flip))
        for axis, shift in enumerate(self.shifts):
            field = np.roll(field, round(shift * field.shape[axis]), axis)
        return field


class NotConverged(np.linalg.LinAlgError):
    """A solve that missed its tolerance."""


class Problem:
    """An equation with its parameters, random inputs, solver, checks and symmetries.

    Attributes
    ----------
    name, equation : str
    inputs, outputs : tuple of Field
    dimensions : int
    kind : {"vertices", "left", "periodic"}
        Of the grids that it lives on.
    lengths : tuple of float
        Sides of its box; () is the unit box.
    times : tuple of float
        When solutions are stored, rising and positive; () where it is stationary.
    rtol : float
        Bound on the evidence of a label.
    order : float or None
        Order of convergence of its scheme, where it has one.
    scheme : str
        What tells its discretisation from those of its rivals, in a word; "" where there is but one.
    arithmetic : {"float64", "float32"}
        What it computes in.
    """

    name: str = "unknown"
    equation: str = "unknown"
    inputs: tuple[Field, ...] = (Field("a", "a"),)
    outputs: tuple[Field, ...] = (Field("u", "u"),)
    dimensions: int = 2
    kind: Kind = "vertices"
    lengths: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    rtol: float = 1e-10
    order: float | None = None
    scheme: str = ""
    arithmetic: str = "float64"

    def draw(self, grid: Grid, rng: np.random.Generator, index: int) -> Inputs:
        """Draw the inputs of sample `index`: the same functions on every grid, from the same generator.

        Raises
        ------
        NotImplementedError
            If the problem does not say how.
        """
        raise NotImplementedError(f"problem {self.name!r} has no method draw")

    def solve(self, a: Inputs, grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for inputs `a`, to the problem's own tolerance unless another is given.

        Raises
        ------
        NotConverged
            If the tolerance is missed.
        NotImplementedError
            If the problem does not say how.
        """
        raise NotImplementedError(f"problem {self.name!r} has no method solve")

    def solve_batch(
        self, a: Float[np.ndarray, "batch inputs *shape"], grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> list[Solution | None]:
        """Solve for several samples at once; None for one that does not converge this way.

        Raises
        ------
        ValueError
            For a device that the problem cannot use.
        """
        if device != "cpu":
            raise ValueError(f"device must be cpu for problem {self.name!r}, got {device!r}")
        solutions: list[Solution | None] = [None] * len(a)
        for i, sample in enumerate(a):
            with suppress(NotConverged):
                solutions[i] = self.solve(sample, grid, rtol=rtol)
        return solutions

    def batches_on(self, device: str) -> bool:
        """Whether `solve_batch` takes a device: on others than the CPU, that of a problem which has one of its own."""
        return device == "cpu" or type(self).solve_batch is not Problem.solve_batch

    def on_device(self, grid: Grid, *, rtol: float | None = None, device: str = "cpu") -> Callable[[Any], Any] | None:
        """What solves for inputs that lie on a device, and leaves the solutions there; None where nothing does.

        That is a function of tensors, (batch, inputs, *shape) ↦ (batch, outputs, *shape) in float64, at the last of the
        times; NaN where a solve does not converge.
        """
        solve = self.trajectories_on_device(grid, rtol=rtol, device=device)
        return None if solve is None else lambda a: solve(a)[:, -1]

    def trajectories_on_device(
        self, grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> Callable[[Any], Any] | None:
        """As `on_device`, at all of the times: (batch, inputs, *shape) ↦ (batch, times, outputs, *shape).

        Here it is `solve_batch`, where that takes the device; inputs and solutions pass through the memory of the CPU.
        """
        if not self.batches_on(device):
            return None
        import torch

        def solve(a: Any) -> Any:
            u = np.full((len(a), max(1, len(self.times)), len(self.outputs), *grid.shape), np.nan)
            inputs = a.double().cpu().numpy()
            for i, found in enumerate(self.solve_batch(inputs, grid, rtol=rtol, device=device)):
                if found is not None:
                    u[i] = found.u
            return torch.from_numpy(u).to(a.device)

        return solve

    def initial(self, a: Inputs, grid: Grid) -> Float[np.ndarray, "outputs *shape"]:
        """The state at t = 0: the inputs that are named as outputs, else zero."""
        names = [each.name for each in self.inputs]
        zero = np.zeros(grid.shape)
        return np.stack([a[names.index(each.name)] if each.name in names else zero for each in self.outputs])

    def restrict(self, field: Float[np.ndarray, "*any"], grid: Grid, coarse: Grid, what: str) -> np.ndarray:
        """Bring fields (*any, *shape) to a coarser grid; here every s-th point.

        Parameters
        ----------
        what : {"input", "output"}
            What the fields are.
        """
        _, stride = grid.coarsened(coarse.shape[0])
        every: tuple[Any, ...] = (slice(None, None, stride),) * len(grid.shape)
        return field[(..., *every)]

    def solved_on(self, grid: Grid) -> Grid:
        """The grid that it solves on for inputs on `grid`."""
        return grid

    restriction: str = "stride"
    """What `restrict` does, in a word that the file keeps."""

    def rivals(self) -> "tuple[Problem, ...]":
        """Discretisations of the same equation to stand beside operators."""
        return (self,)

    def bracket(self) -> "tuple[Problem, ...]":
        """Two discretisations between whose solutions that of the equation is expected, or none."""
        return ()

    def residual(self, a: Inputs, u: Trajectory, grid: Grid) -> float | None:
        """How far any u, a prediction too, is from satisfying the discrete equation; None where that is not known."""
        return None

    def check(self, a: Inputs, u: Trajectory, grid: Grid, evidence: float, rtol: float) -> Iterator[str]:
        """What is wrong with a stored sample, in words; here, that solving again gives another field.

        Parameters
        ----------
        a, u : arrays
            As stored, in float64.
        evidence : float
            What the file records for the sample; NaN if unknown.
        rtol : float
            The tolerance it was made with.
        """
        yield from self.unlike(u, self.solve(a, grid, rtol=rtol).u)

    def unlike(self, u: Trajectory, again: Trajectory) -> Iterator[str]:
        """Which stored solutions are not those that were solved for again, in words."""
        for k, field in enumerate(self.outputs):
            difference, size = np.abs(u[:, k] - again[:, k]).max(), np.abs(again[:, k]).max()
            if not difference <= ROUNDING * size:
                apart = f"{difference / (size or 1):.1e} of its largest value"
                yield f"the {field.name} differs by {apart} from the one that is solved for again"

    def symmetries(self, grid: Grid) -> Sequence[Symmetry]:
        """The maps of this grid that take solutions to solutions; the identity alone where nothing is known."""
        return [identity(len(grid.shape))]

    def fits(self, grid: Grid, samples: int) -> None:
        """Refuse a grid, or a number of samples, that the problem cannot serve, before anything is drawn.

        Raises
        ------
        ValueError
            If it cannot.
        """

    def parameters(self) -> dict[str, Any]:
        """The parameters as JSON; an array is named by its SHA-256."""
        return {name: plain(value) for name, value in self._values().items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Those parameters that are arrays."""
        return {name: value for name, value in self._values().items() if isinstance(value, np.ndarray)}

    def drawn_by(self) -> dict[str, Any]:
        """Those parameters, as JSON, that `draw` reads: all of them, unless the problem knows better."""
        return self.parameters()

    def code(self) -> dict[str, str]:
        """Names of a user's own code among the parameters: parameter → ``module:name`` or ``file.py:name``."""
        return {}

    def attributes(self) -> dict[str, Any]:
        """What a file of samples shall say beside name, parameters, equation and fields: numbers and strings."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        from data_gen.problems import called, rebuilt, sources

        return rebuilt, (called(self), self._values(), sources(self))

    def _values(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)} if is_dataclass(self) else {}


def samples_at_once(grid: Grid) -> int:
    """How many samples a GPU solves in one batch, beside the solver's own fields."""
    return min(4096, max(1, POINTS_PER_BATCH // grid.points))


def identity(dimensions: int) -> Symmetry:
    """The symmetry that changes nothing."""
    return Symmetry(tuple(range(dimensions)), (False,) * dimensions)


def plain(value: Any) -> Any:
    """A parameter as JSON has it: tuples are lists, and arrays are named by the SHA-256 of their float64 bytes."""
    if isinstance(value, np.ndarray):
        return "sha256:" + hashlib.sha256(np.ascontiguousarray(value, dtype="<f8").tobytes()).hexdigest()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
