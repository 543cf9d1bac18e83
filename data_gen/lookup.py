"""A name → an object: a registered one, or a user's own as ``module:name`` or ``file.py:name``.

A file is executed once in a process, however often it is named, and again only if its content has changed; what a name
stands for is known by the SHA-256 of that content.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

_files: dict[tuple[Path, str], ModuleType] = {}


def find(name: str, known: Mapping[str, Any], what: str) -> Any:
    """The object that a name stands for.

    Parameters
    ----------
    name : str
        A key of `known`, ``module:name``, or ``file.py:name``.
    known : mapping
        What is registered: names → objects, or → strings ``module:name``, imported when first asked for.
    what : str
        What messages call it: "operator", "law", …

    Raises
    ------
    ValueError
        If the name is unknown, or its module, file or object does not exist or cannot be imported.
    """
    registered = known.get(name, name)
    if not isinstance(registered, str):
        return registered
    place, _, attribute = registered.partition(":")
    if not attribute:
        raise ValueError(f"{what} {name!r} is unknown: use {', '.join([*known, 'module:name or file.py:name'])}")
    if place.endswith(".py") and not Path(place).is_file():
        raise ValueError(f"{what} {name!r}: there is no file {place}")
    try:
        module = _load(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"{what} {name!r}: no module named {error.name!r} on the Python path") from error
    except (Exception, SystemExit) as error:  # of the user's own file
        raise ValueError(f"{what} {name!r}: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(f"{what} {name!r}: {place} has no {attribute}") from None


def find_callable(name: str, known: Mapping[str, Any], what: str) -> Callable[..., Any]:
    """The class or function that a name stands for, see `find`.

    Raises
    ------
    ValueError
        As `find`, or if it is something else.
    """
    found = find(name, known, what)
    if not callable(found):
        raise ValueError(f"{what} {name!r} must be a class or a function, got {type(found).__name__}")
    return found


def construct(factory: Any, what: str, arguments: Mapping[str, Any]) -> Any:
    """What a class or function makes of arguments; whatever is wrong with them becomes one line.

    Parameters
    ----------
    factory : callable
    what : str
        What messages call it: "operator 'fno'", …
    arguments : mapping

    Raises
    ------
    ValueError
        If the factory does not take these arguments, or raises anything itself.
    """
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        allowed = ", ".join(inspect.signature(factory).parameters)
        raise ValueError(f"{what}: {error}; its arguments are {allowed or 'none'}") from None
    try:
        return factory(**arguments)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    except TypeError as error:  # whose words name no argument
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ValueError(f"{what}: {error}, with {given or 'no arguments'}") from error
    except Exception as error:  # of the user's own class, or of a library with arguments it does not expect
        raise ValueError(f"{what}: {type(error).__name__}: {error}") from error


def source_sha256(name: str, known: Mapping[str, Any]) -> str | None:
    """SHA-256 of the file that defines what a name stands for; None for what is registered, or has no file.

    The file is read, and not run.

    Raises
    ------
    ValueError
        If there is no such file or module.
    """
    place, _, attribute = name.partition(":")
    if name in known or not attribute:
        return None
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise ValueError(f"{name!r}: there is no file {place}")
    else:
        path = Path(_file_of_module(place) or "")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def name_of(thing: type) -> str:
    """The name by which `find` gives a class: ``module:name``, or ``file.py:name`` where that is how it was loaded."""
    module = sys.modules[thing.__module__]
    place = module.__file__ if module in _files.values() else thing.__module__
    return f"{place}:{thing.__qualname__}"


def _file_of_module(name: str) -> str | None:
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise ValueError(f"no module named {name!r} on the Python path")
    return spec.origin


def _load(path: Path) -> ModuleType:
    source = path.read_bytes()
    content = hashlib.sha256(source).hexdigest()
    key = path.resolve(), content
    if key not in _files:
        name = f"{path.stem}_{content[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look up the annotations of the file
        try:  # these very bytes: the loader might find older ones in __pycache__
            exec(compile(source, path, "exec", dont_inherit=True), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        _files[key] = module
    return _files[key]
