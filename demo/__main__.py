"""`python -m demo`: exits with 0, with 1 and a list of faults, with 130 for Ctrl-C."""

import signal
import sys


def main() -> int:
    """Run the demo; Ctrl-C ends it at any time, without a traceback."""
    # A shell that starts it in the background has Ctrl-C ignored; make it heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from demo.run import run  # noqa: PLC0415 - importing takes a while: it may come then

        return run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
