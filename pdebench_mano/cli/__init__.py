"""The command line: thin commands that parse, call and print.

Each module adds its commands to `app`. Bad input ends with one line on stderr and exit
status 2; no command prints a traceback for something the user can mend.
"""

import sys

if sys.platform == "win32":
    print("pdebench-mano: this is Windows, and Linux and macOS are supported: install it in WSL", file=sys.stderr)
    sys.exit(2)

from pdebench_mano.cli.app import main

__all__ = ["main"]
