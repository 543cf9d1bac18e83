"""The command line: thin commands that parse, call and print.

Each module adds its commands to `app`. Bad input ends with one line on stderr and exit
status 2; no command prints a traceback for something the user can mend.
"""

from pdebench_mano.cli.app import main

__all__ = ["main"]
