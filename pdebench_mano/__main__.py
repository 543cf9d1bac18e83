"""``python -m pdebench_mano`` is ``pdebench-mano``, for launchers that start modules."""

from pdebench_mano.cli import main

main()
