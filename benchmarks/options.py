"""The command line that all benchmarks have."""

from argparse import ArgumentParser


def options(name: str | None = None) -> ArgumentParser:
    """Return a parser of what a benchmark can be told; None: all of them."""
    module = "benchmarks" if name is None else f"benchmarks.{name}"
    parser = ArgumentParser(prog=f"python -m {module}")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="in seconds: too little to say anything, so nothing is kept of it",
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a bar does not hold"
    )
    return parser
