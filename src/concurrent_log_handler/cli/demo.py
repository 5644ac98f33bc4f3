"""Let several processes log into one rotating file, then look for every record."""

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple, cast

from concurrent_log_handler.cli.console import (
    INTERRUPTED,
    LOG_NAME,
    OK,
    USAGE,
    WRONG,
    Display,
    duration,
    make_folder,
    open_display,
    parse_size,
    say,
    whole_number,
)
from concurrent_log_handler.cli.crew import Member, Pipe, deaf_to_interrupts, dismiss, start
from concurrent_log_handler.cli.reckoning import Account, Reckoning, reckon
from concurrent_log_handler.cli.workload import Message, Plan, Tally, log_records

GRACE = 60.0  # seconds for starting, and for ending after the time is up; then a writer counts as hung


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `clh demo`."""
    parser.add_argument(
        "--processes", type=whole_number, default=8, metavar="N", help="how many log at once (default: 8)"
    )
    parser.add_argument("--seconds", type=duration, default=5.0, metavar="S", help="how long (default: 5)")
    parser.add_argument(
        "--max-bytes",
        type=parse_size,
        default=1_000_000,
        metavar="BYTES",
        help="size at which the file rotates, as in 20000, 500k or 2M (default: 1M)",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="log there, and leave the files there; must be empty or not exist (default: a temporary folder)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the temporary folder; it is kept anyway if anything is wrong",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo and return 0 if every record is there once, whole and in order, else 1."""
    try:
        folder = make_folder(options.directory, "clh-demo-")
    except OSError as error:
        say(f"clh demo: {error}", sys.stderr)
        return USAGE
    plan = Plan(folder / LOG_NAME, options.seconds, options.max_bytes)
    keep = options.keep or options.directory is not None
    try:
        tallies, found = _perform(plan, options.processes)
    except KeyboardInterrupt:
        say("interrupted", sys.stderr)
        status = INTERRUPTED
    else:
        say(report(plan, tallies, found))
        status = WRONG if faults(tallies, found) else OK
    if keep or status == WRONG:
        say(f"The files are in {folder}")
    else:
        shutil.rmtree(str(folder), ignore_errors=True)
    return status


def faults(tallies: Sequence[Tally], found: Reckoning) -> List[str]:
    """Return what is wrong, one phrase for each kind of fault."""
    counts = _fault_counts(tallies, found)
    return [f"{count:,} {name}" for name, count in counts.items() if count]


def report(plan: Plan, tallies: Sequence[Tally], found: Reckoning) -> str:
    """Return the report as a table in plain text: what was to be done, reported by the writers, and read back."""
    rotating = f"rotated at {plan.max_bytes:,} bytes" if plan.max_bytes else "not rotated"
    rate = sum(_rate(tally) for tally in tallies)
    totals = {
        "records": found.acknowledged,
        "records/s": round(rate),
        "bytes": found.size,
        "files": found.files,
        "rotations": found.backups,
    }
    totals.update(_fault_counts(tallies, found))
    crew = f"{len(tallies)} processes on {os.cpu_count() or '?'} CPUs"
    lines = [f"{crew}, {plan.seconds:g} s, one {plan.path.name}, {rotating}", ""]
    lines += [f"  {name:<14}{count:>12,}" for name, count in totals.items()]
    lines += ["", "  process     records   records/s   median call   slowest call"]
    lines += [_row(tally) for tally in tallies]
    lines.append("")
    lines += [f"  {note}" for note in _notes(tallies, found)]
    wrong = faults(tallies, found)
    lines.append(
        "WRONG: " + ", ".join(wrong) if wrong else "Every record is there: once, whole and in order."
    )
    return "\n".join(lines)


def _fault_counts(tallies: Sequence[Tally], found: Reckoning) -> Dict[str, int]:
    return {
        "lost": found.lost,
        "doubled": found.doubled,
        "torn": found.torn,
        "blank lines": found.blank,
        "misordered": found.misordered,
        "unacknowledged": found.unacknowledged,
        "errors": sum(len(tally.account.refused) for tally in tallies),
        "stray files": len(found.stray),
        "dead writers": sum(not tally.ended for tally in tallies),
    }


def _notes(tallies: Sequence[Tally], found: Reckoning) -> List[str]:
    notes = list(found.notes)
    notes += [f"stray file: {name}" for name in found.stray]
    notes += [f"w{tally.account.writer:02d}: {tally.error}" for tally in tallies if tally.error]
    return notes


def _row(tally: Tally) -> str:
    return (
        f"  w{tally.account.writer:02d}      {tally.account.acknowledged:>10,}  {_rate(tally):>10,.0f}"
        f"   {tally.median * 1e3:>8.3f} ms   {tally.slowest * 1e3:>9.2f} ms"
    )


def _rate(tally: Tally) -> float:
    return tally.account.acknowledged / tally.seconds if tally.seconds else 0.0


def _perform(plan: Plan, processes: int) -> Tuple[List[Tally], Reckoning]:
    display = open_display(sys.stderr)
    try:
        tallies = _log(plan, processes, display)
        accounts = [tally.account for tally in tallies]

        def watch(done: int, files: int) -> None:
            display.show("reading back", done / files, f"{done:,} of {files:,} files")

        return tallies, reckon(plan.path, accounts, watch)
    finally:
        display.close()


def _log(plan: Plan, processes: int, display: Display) -> List[Tally]:
    crew: List[Member] = []
    try:
        _start(crew, plan, processes)
        return _collect(crew, plan.seconds, display)
    finally:
        dismiss(crew)


def _start(crew: List[Member], plan: Plan, processes: int) -> None:
    context = multiprocessing.get_context("spawn")
    with deaf_to_interrupts():
        for writer in range(1, processes + 1):
            member = start(context, writer, log_records, plan, writer)
            crew.append(member)  # at once: who has been started before a failure is to be ended


def _collect(crew: Sequence[Member], seconds: float, display: Display) -> List[Tally]:
    """Let all writers begin at the same time and return their tallies in their order."""
    pipes = {member.connection: member.writer for member in crew}
    absent = set(pipes.values())
    for writer, _ in _messages(pipes, GRACE):
        absent.discard(writer)
        if not absent:
            break
    for connection in pipes:
        with suppress(OSError):  # gone since; the loop below will hear of it
            connection.send("begin")
    begun = time.monotonic()
    counts: Dict[int, int] = {}
    tallies = {member.writer: Tally(Account(member.writer, 0), ended=False) for member in crew}
    for writer, message in _messages(pipes, seconds + GRACE):
        if isinstance(message, Tally):
            tallies[writer] = message
        elif message is not None:
            counts[writer] = message
            tallies[writer] = Tally(Account(writer, message), ended=False)
        records, elapsed = sum(counts.values()), min(time.monotonic() - begun, seconds)
        display.show("logging", elapsed / seconds, f"{elapsed:.1f} of {seconds:g} s, {records:,} records")
    return [tallies[member.writer] for member in crew]


def _messages(pipes: Dict[Pipe, int], patience: float) -> Iterator[Tuple[int, Message]]:
    """Yield what writers say until all have closed their pipes or the seconds are over; forget closed pipes."""
    deadline = time.monotonic() + patience
    while pipes:
        ready = wait(list(pipes), max(0.0, deadline - time.monotonic()))
        if not ready:
            return
        for connection in ready:
            pipe = cast("Pipe", connection)
            writer = pipes[pipe]
            message: Message = None
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                del pipes[pipe]
            yield writer, message
