"""`python -m lipsync_core`, and the command `openlipsync`."""

import gc
import sys

from .cli import main


def run() -> None:
    """`cli.main` in a process of its own. The garbage collector is asked less often, and not once more at the end: it would go
    through all that torch brings, over and over while that is imported and a last time before the process ends."""
    gc.set_threshold(50_000, 20, 20)
    status = main()
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    run()
