"""One of several laws for each sample, each as likely as the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from data_gen.laws.law import Coefficient, Law


@dataclass(frozen=True)
class Mixture:
    """The law of every sample is drawn from a list, uniformly.

    The one mean on faces that serves all of them is that which all name, else the harmonic one: at 85² a piecewise
    coefficient has an error of .0046 with it, .0038 with its own, the geometric one, and channels .017 where the
    geometric one has .044 (``benchmarks/face_means.json``).

    Parameters
    ----------
    laws : list of dict
        ``law``, the name of one that comes with the suite, and ``law_args``, its parameters, where they are not the
        defaults. A law that stands there twice is twice as likely.

    Raises
    ------
    ValueError
        If there is no law, one is no such table, or it does not take its parameters.
    """

    laws: Any = ({"law": "piecewise"}, {"law": "inclusions"}, {"law": "channels"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "laws", self.complete({"laws": self.laws})["laws"])

    @staticmethod
    def complete(arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with all parameters of every law, defaults included."""
        from data_gen.laws import LAWS, build_law, law_parameters  # of which this is one

        known, laws = [name for name in LAWS if name != "mixture"], arguments["laws"]
        if isinstance(laws, str | Mapping) or not isinstance(laws, Sequence) or not laws:
            raise ValueError(f"laws must be a list of tables like {{law = 'piecewise'}}, got {laws!r}")
        whole = []
        for each in laws:
            if not isinstance(each, Mapping) or "law" not in each or each.keys() - {"law", "law_args"}:
                raise ValueError(f"one of laws must be a table of law, and law_args if any, got {each!r}")
            name, given = each["law"], each.get("law_args", {})
            if name not in known or not isinstance(given, Mapping):
                raise ValueError(f"one of laws must be {', '.join(known)}, and its law_args a table, got {each!r}")
            build_law(name, dict(given))
            whole.append({"law": name, "law_args": law_parameters(name, dict(given))})
        return {"laws": whole}

    @cached_property
    def _built(self) -> list[Law]:
        from data_gen.laws import build_law

        return [cast(Law, build_law(each["law"], each["law_args"])) for each in self.laws]

    @property
    def face_mean(self) -> str:
        """The mean on faces that suits all laws."""
        means = {getattr(law, "face_mean", "arithmetic") for law in self._built}
        return means.pop() if len(means) == 1 else "harmonic"

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return self._built[rng.integers(len(self._built))](shape, rng)
