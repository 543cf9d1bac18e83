"""How many there may be of something: from one on, and fewer than anybody waits for."""

MOST = 10**8
"""Of samples, epochs, repeats, …"""

PROCESSES = 4096
"""Of processes on one machine."""


def check_count(name: str, count: int, most: int = MOST) -> None:
    """Refuse a number of things that there cannot be.

    Raises
    ------
    ValueError
        If it is below 1, or above `most`.

    Examples
    --------
    >>> check_count("workers", 10**20, PROCESSES)
    Traceback (most recent call last):
    ValueError: workers must be at most 4096, got 100000000000000000000
    """
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    if count > most:
        raise ValueError(f"{name} must be at most {most}, got {count}")
