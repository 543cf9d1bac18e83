"""Random shapes of high or low value in a background of 1: discs, and channels that cross the square."""

from dataclasses import dataclass

import numpy as np

from data_gen.laws.law import Coefficient, positive


@dataclass(frozen=True)
class Inclusions:
    """Discs of value `contrast` in a background of 1.

    Parameters
    ----------
    contrast : float
        Value inside; below 1 the discs are barriers.
    count : int
        Number of discs; they may overlap. Centres are uniform in the square.
    smallest, largest : float
        Bounds of the uniformly distributed radius, in units of the side.

    Raises
    ------
    ValueError
        If a parameter is not positive and finite, or `largest` is below `smallest`.
    """

    face_mean = "harmonic"

    contrast: float | int = 1000.0
    count: int = 20
    smallest: float | int = 0.02
    largest: float | int = 0.1

    def __post_init__(self) -> None:
        positive(contrast=self.contrast, count=self.count, smallest=self.smallest)
        if not self.smallest <= self.largest:
            raise ValueError(f"largest must be at least smallest, got {self.largest} < {self.smallest}")

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        x, y = _vertices(shape)
        a = np.ones(shape)
        for _ in range(self.count):
            (cx, cy), radius = rng.random(2), rng.uniform(self.smallest, self.largest)
            a[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = self.contrast
        return a


@dataclass(frozen=True)
class Channels:
    """Meandering channels of value `contrast` that cross a background of 1.

    A channel is the set of points within width/2 of y = c + s sin(2π(k x + φ)), measured along y,
    with c, s, k, φ random; every other one runs along y instead of x.

    Parameters
    ----------
    contrast : float
        Value in the channels; below 1 they are barriers.
    count : int
        Number of channels.
    width : float
        Width, in units of the side.
    swing : float
        Largest amplitude s of the meanders.

    Raises
    ------
    ValueError
        If a parameter is not positive and finite, or `swing` is negative.
    """

    face_mean = "harmonic"

    contrast: float | int = 1000.0
    count: int = 4
    width: float | int = 0.03
    swing: float | int = 0.1

    def __post_init__(self) -> None:
        positive(contrast=self.contrast, count=self.count, width=self.width)
        if not self.swing >= 0:
            raise ValueError(f"swing must be non-negative, got {self.swing}")

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        x, y = _vertices(shape)
        a = np.ones(shape)
        for i in range(self.count):
            along, across = (x, y) if i % 2 == 0 else (y, x)
            centre, swing, waves, phase = rng.random(), rng.uniform(0, self.swing), rng.uniform(0.5, 2), rng.random()
            path = centre + swing * np.sin(2 * np.pi * (waves * along + phase))
            a[np.abs(across - path) <= self.width / 2] = self.contrast
        return a


def _vertices(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    n, m = shape
    return np.linspace(0, 1, n)[:, None], np.linspace(0, 1, m)
