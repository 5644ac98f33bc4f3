"""Measure what importing the package adds to importing logging.handlers, and look for threads."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import common

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BASE = "logging.handlers"
RIVALS = (common.ATOMIC, common.RIVAL)
TARGET = 20.0

# The bare interpreter's own modules are paid for before the clock starts; what the statement pulls in is not.
PROGRAM = """
import sys, time
sys.path[:0] = sys.argv[2:]
started = time.perf_counter()
import {module}
elapsed = time.perf_counter() - started
import json, os, threading

def threads():
    tasks = "/proc/self/task"
    return max(threading.active_count(), len(os.listdir(tasks)) if os.path.isdir(tasks) else 0)

imported = threads()
if {construct}:
    handler = {module}.ConcurrentRotatingFileHandler(sys.argv[1], maxBytes=1000, backupCount=3)
print(json.dumps([elapsed, imported, threads(), {module}.__file__]))
"""


class Import(NamedTuple):
    """What one fresh interpreter has seen."""

    seconds: float
    threads_imported: int
    threads_constructed: int
    origin: str


def program(module: str) -> str:
    """Return what a fresh interpreter has to run."""
    return PROGRAM.format(module=module, construct=module == common.PACKAGE)


def start(module: str, folder: Path | None, directory: Path) -> Import:
    """Import a module in an interpreter of its own."""
    command = [sys.executable, "-I", "-c", program(module), str(directory / "app.log")]
    command.extend([str(folder)] if folder else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        message = f"{module} cannot be imported from {folder}"
        raise common.BenchmarkError(message)
    return Import(*json.loads(done.stdout))


def measure(
    names: Sequence[str], folders: common.Folders, directory: Path, pairs: int
) -> dict[str, list[Import]]:
    """Start interpreters by turns."""

    def once(name: str) -> Import:
        if name == BASE:
            return start(BASE, None, directory)
        folder = folders.of(name)
        seen = start(common.PACKAGE, folder, directory)
        if folder is not None and not seen.origin.startswith(str(folder)):
            message = f"{common.PACKAGE} was imported from {seen.origin}, not from {folder}"
            raise common.BenchmarkError(message)
        return seen

    everything = [BASE, *names]
    for name in everything:
        once(name)  # writes the byte code, which is not what is measured
    return common.interleave(everything, pairs, once)


def table(results: dict[str, list[Import]]) -> str:
    """Lay the result out."""
    base = [one.seconds * 1e3 for one in results[BASE]]
    rows = []
    for name, imports in results.items():
        values = [one.seconds * 1e3 for one in imports]
        added = common.certain(common.differences(values, base))
        rows.append(
            (
                BASE if name == BASE else f"{common.PACKAGE}, {'this' if name == common.ATOMIC else name}",
                f"{statistics.median(values):.2f}",
                f"{added.median:.2f}" if name != BASE else "",
                common.span(added, "{:.2f}".format) if name != BASE else "",
                f"at most {TARGET:.0f}" if name == common.ATOMIC else "",
                str(max(one.threads_imported for one in imports) - 1),
                str(max(one.threads_constructed for one in imports) - 1) if name != BASE else "",
            )
        )
    headers = ("import", "ms", "added, ms", "certain", "target", "threads", "with a handler")
    return common.format_table(headers, rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_arguments(parser)
    parser.add_argument("--pairs", type=int, help="fresh interpreters of each kind (default: 40; quick: 5)")
    options = parser.parse_args(arguments)
    options.pairs = options.pairs or (5 if options.quick else 40)
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    folders = common.find_folders(options, RIVALS)
    with common.scratch(options.directory) as directory:
        results = measure(RIVALS, folders, directory, options.pairs)
    print(f"importing in a fresh interpreter, median of {options.pairs}; threads beside the main one\n")
    print(table(results))
    if options.json:
        kept = {name: [one.seconds for one in imports] for name, imports in results.items()}
        common.save(options.json, kept, "seconds per import")


if __name__ == "__main__":
    common.run(main)
