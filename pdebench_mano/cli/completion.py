"""What the shell completes words to: names, which are known without what they name; files where no name fits."""

from collections.abc import Callable, Iterable


def of(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The completion of a word to one of some names, which are imported when it is asked for."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


@of
def operators() -> Iterable[str]:
    """Registered operators."""
    from pdebench_mano.operators.names import OPERATORS

    return OPERATORS


@of
def regimes() -> Iterable[str]:
    """Training regimes."""
    from pdebench_mano.training.names import REGIME_NAMES

    return REGIME_NAMES


@of
def problems() -> Iterable[str]:
    """Equations."""
    from data_gen.problems import PROBLEMS

    return PROBLEMS


@of
def laws() -> Iterable[str]:
    """Laws of coefficients."""
    from data_gen.laws import LAWS

    return LAWS


@of
def suites() -> Iterable[str]:
    """Suites that come with the package."""
    from pdebench_mano.benchmark.suite import SUITES

    return sorted(path.stem for path in SUITES.glob("*.toml"))


@of
def published() -> Iterable[str]:
    """Suites that have published records."""
    from pdebench_mano.benchmark.leaderboard import suites

    return suites()
