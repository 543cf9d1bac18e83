"""What files hold, checked when it is read: values of another kind, and unknown keys, are said in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

T = TypeVar("T")


def typed(kind: type[T], content: Any, path: Path) -> T:
    """The content of a file as what it shall be.

    Parameters
    ----------
    kind : type
        A Pydantic model or a dataclass.
    content : Any
        Plain data, as JSON gives them.
    path : Path
        The file, for the message.

    Raises
    ------
    ValueError
        If a value is missing, or of another kind.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is damaged, or another program's: {where}: {first['msg']}") from None


def wrong(error: ValidationError, model: type[BaseModel], *, quoted: bool = False) -> str:
    """The first thing that is wrong with what a person wrote; of an unknown key, with those that there are.

    Parameters
    ----------
    error : ValidationError
    model : type
        What was validated.
    quoted : bool
        Whether to show the value.
    """
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) + (f"={first['input']!r}" if quoted else "")
    if first["type"] != "extra_forbidden":
        return ": ".join(filter(None, (where, first["msg"].removeprefix("Value error, "))))
    for part in first["loc"][:-1]:
        if isinstance(part, str):  # and not the place in a list
            model = next(_models(model.model_fields[part].annotation))
    return f"{where} is unknown: use {', '.join(model.model_fields)}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, such as that of a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
