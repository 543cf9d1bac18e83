"""Equations by name: one file or folder each, its line in `PROBLEMS`, and a user's own as ``module:Class``."""

from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from itertools import pairwise
from typing import Any

from data_gen.grid import Kind
from data_gen.lookup import construct, find_callable, name_of, source_sha256
from data_gen.problem import Problem, plain

PROBLEMS = {
    "darcy": "data_gen.problems.darcy:Darcy",
    "helmholtz": "data_gen.problems.helmholtz:Helmholtz",
    "navier-stokes": "data_gen.problems.navier_stokes:NavierStokes",
    "transient-darcy": "data_gen.problems.transient_darcy:TransientDarcy",
}


def build_problem(name: str, **parameters: Any) -> Problem:
    """Construct a problem.

    Parameters
    ----------
    name : str
        A name in `PROBLEMS`, ``module:Class``, or ``file.py:Class``.
    **parameters
        Fields of its class; lists become tuples.

    Raises
    ------
    ValueError
        If there is no such problem, it does not take the parameters, or it is not one of two dimensions.
    """
    factory = find_callable(name, PROBLEMS, "problem")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    problem = construct(factory, f"problem {name!r}", given)
    if not isinstance(problem, Problem):
        raise ValueError(f"problem {name!r} must be a data_gen.Problem, got {type(problem).__name__}")
    if problem.dimensions != 2:
        raise ValueError(f"problem {name!r} has {problem.dimensions} dimensions; this version carries two")
    if any(later <= earlier for earlier, later in pairwise((0, *problem.times))):
        raise ValueError(f"problem {name!r}: times must be positive and rise, got {problem.times}")
    object.__setattr__(problem, "_called", name)
    return problem


def called(problem: Problem) -> str:
    """The name by which `build_problem` makes this problem again, without its parameters."""
    place = name_of(type(problem))
    registered = {entry: name for name, entry in PROBLEMS.items()}
    return registered.get(place) or vars(problem).get("_called", place)


def defaults(name: str) -> dict[str, Any]:
    """The parameters of a problem and their defaults, as JSON has them; None for one without.

    Raises
    ------
    ValueError
        If there is no such problem.
    """
    factory = find_callable(name, PROBLEMS, "problem")
    if not is_dataclass(factory):
        return dict.fromkeys(signature(factory).parameters)
    made = {each.name: each.default_factory() for each in fields(factory) if each.default_factory is not MISSING}
    given = {each.name: each.default for each in fields(factory) if each.default is not MISSING}
    return {each.name: plain((made | given).get(each.name)) for each in fields(factory) if each.init}


def described(name: str) -> dict[str, Any]:
    """What a registered problem says of itself, as JSON has it: equation, fields, grids, times, parameters.

    Raises
    ------
    ValueError
        If there is no such problem.
    """
    problem = build_problem(name)
    return {
        "name": name,
        "equation": problem.equation,
        "inputs": [each._asdict() for each in problem.inputs],
        "outputs": [each._asdict() for each in problem.outputs],
        "dimensions": problem.dimensions,
        "kind": problem.kind,
        "times": list(problem.times),
        "parameters": defaults(name),
    }


def kind_of(name: str) -> Kind:
    """The kind of grid that a problem lives on, before it is built.

    Raises
    ------
    ValueError
        If there is no such problem.
    """
    return getattr(find_callable(name, PROBLEMS, "problem"), "kind", Problem.kind)


def sources(problem: Problem) -> dict[str, str]:
    """The SHA-256 of each file of a user's own that a problem depends on: that of its class, and of its parameters.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    digests = {"problem": source_sha256(called(problem), PROBLEMS)}
    digests |= {parameter: source_sha256(name, {}) for parameter, name in problem.code().items()}
    return {name: digest for name, digest in digests.items() if digest is not None}


def rebuilt(name: str, values: dict[str, Any], known: dict[str, str]) -> Problem:
    """A problem in another process, where files of the user's own must be what they were.

    Raises
    ------
    ValueError
        As `build_problem`, or if such a file has changed.
    """
    problem = build_problem(name, **values)
    if sources(problem) != known:
        raise ValueError(f"problem {name!r}: a file that it depends on has changed meanwhile")
    return problem
