"""`python -m lipsync_core`, and the command `openlipsync`."""

import gc
import sys


def run() -> None:
    """`cli.main` in a process of its own. The garbage collector is asked less often, and not once more at the end: it would go
    through all that torch brings, over and over while that is imported and a last time before the process ends."""
    gc.set_threshold(50_000, 20, 20)
    try:
        from .cli import main  # Ctrl-C may come while that is imported

        status = main()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        status = 130
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    run()
