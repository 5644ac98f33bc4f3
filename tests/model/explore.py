"""Explore the protocol within larger bounds than the tests do.

    python tests/model/explore.py --records 3 --crashes 2
    python tests/model/explore.py --records 1 --break the_tail_is_read --trace

It needs nothing but Python 3.8, and runs several times as fast under PyPy.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import List, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model.explorer import Explorer, Result
from model.protocol import Protocol
from model.settings import AS_BUILT, DEFAULT, Bound, Rules

SECONDS_BETWEEN_LINES = 1.0


def arguments_of(command_line: Sequence[str]) -> argparse.Namespace:
    """Read the command line; what is not said is as in `Bound`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in DEFAULT._asdict().items():
        option = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(option, choices=("yes", "no"), default="yes" if default else "no")
        else:
            parser.add_argument(option, type=int, default=default)
    parser.add_argument("--break", dest="broken", action="append", default=[], choices=Rules._fields)
    parser.add_argument("--most-states", type=int, help="where to give up")
    parser.add_argument("--trace", action="store_true", help="show the way to a fault")
    return parser.parse_args(command_line)


def bound_of(arguments: argparse.Namespace) -> Bound:
    """Return the bound that is asked for."""
    given = {name: getattr(arguments, name) for name in Bound._fields}
    return Bound(
        **{name: value == "yes" if isinstance(value, str) else value for name, value in given.items()}
    )


class Progress:
    """Shows how far an exploration is, if somebody looks at it."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()
        self._began = self._shown = time.monotonic()

    def __call__(self, states: int, transitions: int, depth: int) -> None:
        """Show it, once in a while."""
        now = time.monotonic()
        if self._is_seen and now >= self._shown + SECONDS_BETWEEN_LINES:
            self._shown = now
            rate = states / (now - self._began)
            line = f"{states:,} states, {transitions:,} transitions, depth {depth}, {rate:,.0f} states/s"
            sys.stderr.write(f"\r{line:<78}")

    def end(self) -> None:
        """Leave nothing on the screen."""
        if self._is_seen:
            sys.stderr.write(f"\r{'':<78}\r")


def table_of(bound: Bound, broken: List[str], result: Result) -> str:
    """Return what was explored and what was found, one below the other."""
    rows = {
        **{name.replace("_", " "): str(value) for name, value in bound._asdict().items()},
        "broken": ", ".join(broken) or "nothing",
        "states": f"{result.states:,}",
        "transitions": f"{result.transitions:,}",
        "depth": f"{result.depth}",
        "seconds": f"{result.seconds:.1f}",
        "fault": result.fault or ("none" if result.is_complete else "none so far"),
    }
    return "".join(f"{name:<14}{value}\n" for name, value in rows.items())


def main(command_line: Sequence[str]) -> int:
    """Explore; the exit status is 1 if there is a fault."""
    arguments = arguments_of(command_line)
    bound = bound_of(arguments)
    protocol = Protocol(bound, AS_BUILT._replace(**dict.fromkeys(arguments.broken, False)))
    progress = Progress()
    result = Explorer(protocol, protocol.name_of, arguments.most_states).run(progress)
    progress.end()
    sys.stdout.write(table_of(bound, arguments.broken, result))
    if arguments.trace:
        sys.stdout.writelines(f"    {line}\n" for line in result.trace)
    return 1 if result.fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
