"""What else a machine does, as far as it tells: times are taken on an idle one, or say that it was busy."""

import os
import subprocess

import torch

LOADED = 0.5
"""Runnable threads for each core, over the last minute, from which on a machine is busy."""


def loaded() -> bool:
    """Whether the cores have been busy for a minute, by the load average; this process counts, too."""
    return os.getloadavg()[0] > LOADED * (os.cpu_count() or 1)


def shared(device: torch.device) -> bool:
    """Whether another process computes on a GPU; False on the CPU, and where the driver does not tell."""
    return device.type == "cuda" and others(processes(device), os.getpid())


def others(listed: set[int], own: int) -> bool:
    """Whether processes on a GPU are not all this one, which in a container goes by another number."""
    return len(listed - {own}) > (0 if own in listed else 1)


def processes(device: torch.device) -> set[int]:
    """Numbers of the processes that compute on a GPU, as the driver's ``nvidia-smi`` lists them."""
    uuid = torch.cuda.get_device_properties(device).uuid
    command = ["nvidia-smi", f"--id=GPU-{uuid}", "--query-compute-apps=pid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return set()
    return {int(word) for word in listed.split() if word.isdecimal()}
