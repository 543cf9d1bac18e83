"""Processes of one machine share its devices out among themselves."""

import subprocess
import sys

from pdebench_mano.machine.devices import take

HOLD = """
import sys
from pathlib import Path
from pdebench_mano.machine.devices import take
print(take(["a", "b"], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_each_takes_what_fewest_have_and_a_killed_process_gives_it_back(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "0\n"
        assert [take(["a", "b"], tmp_path) for _ in range(2)] == [1, 0]
        other.kill()
        other.wait()
    assert [take(["a", "b"], tmp_path) for _ in range(3)] == [0, 1, 0]
    assert take(["c"], tmp_path) == 0, "a device that this worker alone sees is its own"
