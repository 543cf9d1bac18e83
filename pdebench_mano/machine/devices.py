"""Where tensors live."""

import torch


def chosen(name: torch.device | str | None = None) -> torch.device:
    """The device of that name; without one, CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        If this machine has no such device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ValueError(f"device must be cpu, or cuda where there is one, got {str(name)!r}") from None
    return device
