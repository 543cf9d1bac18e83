"""What our own files hold, checked when it is read: values of another kind are said in one line that names the file."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

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
