"""Where the `evalkit` command begins: Ctrl-C is quiet from here on, also while the command line is still imported."""

import gc
import sys


def main() -> None:
    """Runs the command line and ends the process with the verdict's or the error's exit code."""
    # Much stays and little is in cycles: looking for these as often as Python does takes a sixth of a sample's time.
    gc.set_threshold(50_000, 20, 50)
    try:
        # Within the `try`: importing takes a tenth of a second, in which somebody may think better of it.
        from evalkit.cli.app import run

        run()
    except KeyboardInterrupt:
        from evalkit.errors import EXIT_INTERRUPTED

        sys.exit(EXIT_INTERRUPTED)
