"""The command line, `clh COMMAND`: one module per command.

A command's module has a docstring (its first line is the help text), `add_arguments(parser)`, which declares the
options, and `run(options) -> int`, which does the work and returns the exit status.
"""

import argparse
from types import ModuleType
from typing import Optional, Sequence, Tuple

from concurrent_log_handler import __version__
from concurrent_log_handler.cli import demo, stress

COMMANDS: Tuple[Tuple[str, ModuleType], ...] = (("demo", demo), ("stress", stress))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the arguments, without the program's name; `sys.argv[1:]` by default.
    """
    options = _parser().parse_args(argv)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clh", description="Tools for logs that many processes share.")
    parser.add_argument("--version", action="version", version=f"concurrent-log-handler {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True  # as an attribute: Python 3.6 knows no such argument
    for name, module in COMMANDS:
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
