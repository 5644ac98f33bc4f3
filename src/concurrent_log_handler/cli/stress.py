"""Kill and freeze writers while their log rotates, then look for every record: on the disk that you mean to log to."""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom
from typing import Any, Dict, List, Optional, TextIO, Tuple

from concurrent_log_handler import __version__
from concurrent_log_handler.base import SYSTEM
from concurrent_log_handler.cli.console import (
    INTERRUPTED,
    LOG_NAME,
    OK,
    USAGE,
    WRONG,
    duration,
    make_folder,
    open_display,
    parse_size,
    say,
    whole_number,
)
from concurrent_log_handler.cli.reckoning import Reckoning, Terms, reckon
from concurrent_log_handler.cli.storm import CAN_FREEZE, Outcome, Plan, Storm
from concurrent_log_handler.filesystem import kind_of, real_directory

PER_SECOND = 2.0
MOST_COMPLAINTS = 10
SHOW = 0.2  # seconds between two looks at how far it is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `clh stress`."""
    parser.epilog = "Without --kill, --freeze, --compress and --timed it is the first three."
    add = parser.add_argument
    add("--seconds", type=duration, default=30.0, metavar="S", help="how long (default: 30)")
    add("--records", type=whole_number, metavar="N", help="end after so many records instead")
    add("--processes", type=whole_number, default=8, metavar="N", help="how many log at once (default: 8)")
    for deed in ("kill", "freeze"):
        help_text = f"{deed} writers, so many in a second (2)"
        add(f"--{deed}", type=duration, nargs="?", const=PER_SECOND, metavar="PER_SECOND", help=help_text)
    add("--compress", action="store_true", help="compress old files")
    add("--timed", action="store_true", help="rotate each second as well")
    add(
        "--expire",
        type=whole_number,
        nargs="?",
        const=20,
        metavar="N",
        help="keep no more than so many old files (20)",
    )
    add(
        "--max-bytes",
        type=parse_size,
        default=200_000,
        metavar="BYTES",
        help="size at which the file rotates, as in 20000, 500k or 2M (default: 200k)",
    )
    add(
        "--directory",
        type=Path,
        metavar="DIR",
        help="log there, and leave the files there; must be empty or not exist (default: a temporary folder)",
    )
    add(
        "--keep",
        action="store_true",
        help="keep the temporary folder; it is kept anyway if anything is wrong",
    )
    add("--seed", type=int, metavar="N", help="let chance decide as it did with that number")
    add("--report", metavar="FILE", help="write the outcome there as JSON; - is the standard output")


def run(options: argparse.Namespace) -> int:
    """Run the storm and return 0 if nothing is wrong, else 1."""
    if options.freeze and not CAN_FREEZE:
        say("clh stress: --freeze: processes cannot be frozen on this system", sys.stderr)
        return USAGE
    try:
        stream = _open_report(options.report)
        folder = make_folder(options.directory, "clh-stress-")
    except OSError as error:
        say(f"clh stress: {error}", sys.stderr)
        return USAGE
    plan = plan_of(options, folder / LOG_NAME)
    speech = sys.stderr if stream is sys.stdout else sys.stdout
    say(f"clh stress: seed {plan.seed}, files in {folder}", sys.stderr)
    try:
        outcome, found = perform(plan)
    except KeyboardInterrupt:
        say("interrupted", sys.stderr)
        say(f"The files are in {folder}", sys.stderr)
        return INTERRUPTED
    result = summary(plan, outcome, found)
    say(report(plan, result), speech)
    if stream is not None:
        stream.write(json.dumps(result, indent=2) + "\n")
        stream.flush()
        if stream is not sys.stdout:
            stream.close()
    status = WRONG if result["faults"] else OK
    if options.keep or options.directory is not None or status == WRONG:
        say(f"The files are in {folder}", speech)
    else:
        shutil.rmtree(str(folder), ignore_errors=True)
    return status


def _open_report(name: Optional[str]) -> Optional[TextIO]:
    """Open the file for the outcome now, so that a long run does not end without one."""
    if name is None or name == "-":
        return sys.stdout if name else None
    return Path(name).open("w", encoding="utf-8")


def plan_of(options: argparse.Namespace, path: Path) -> Plan:
    """Return the plan that these options mean."""
    kills, freezes, compress = options.kill or 0.0, options.freeze or 0.0, options.compress
    if not (kills or freezes or compress or options.timed):
        kills, freezes, compress = PER_SECOND, PER_SECOND * CAN_FREEZE, True
    return Plan(
        path=path,
        processes=options.processes,
        seconds=options.seconds,
        seed=SystemRandom().randrange(10**9) if options.seed is None else options.seed,
        max_bytes=options.max_bytes,
        records=options.records,
        kills=kills,
        freezes=freezes,
        terms=Terms(timed=options.timed, compressed=compress, keep=options.expire),
    )


def perform(plan: Plan) -> Tuple[Outcome, Reckoning]:
    """Let the storm rage, then look for every record."""
    display = open_display(sys.stderr)
    before = signal.signal(signal.SIGTERM, _end)
    shown_at = 0.0

    def watch_storm(storm: Storm) -> None:
        nonlocal shown_at
        if time.monotonic() >= shown_at or storm.done >= 1:
            shown_at = time.monotonic() + SHOW
            files = len(os.listdir(plan.path.parent))
            parts = f"{storm.elapsed:.0f} s", f"{storm.logged:,} records", f"{files:,} files"
            display.show(
                "storm", storm.done, ", ".join((*parts, f"{storm.kills} kills", f"{storm.freezes} freezes"))
            )

    def watch_reading(done: int, files: int) -> None:
        display.show("reading back", done / files, f"{done:,} of {files:,} files")

    try:
        with tempfile.TemporaryDirectory(prefix="clh-accounts-") as folder:
            storm = Storm(plan, Path(folder))
            try:
                outcome = storm.run(watch_storm)
            finally:
                storm.end()
        return outcome, reckon(plan.path, outcome.accounts, watch_reading, plan.terms)
    finally:
        display.close()
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _: object) -> None:
    """End as one that was told to, but not before the frozen writers, which would stay."""
    sys.exit(128 + number)


def fault_counts(outcome: Outcome, found: Reckoning) -> Dict[str, int]:
    """Return how often each kind of fault was found."""
    return {
        "lost": found.lost,
        "doubled": found.doubled,
        "torn": found.torn,
        "blank lines": found.blank,
        "misordered": found.misordered,
        "unacknowledged": found.unacknowledged,
        "errors": sum(len(each.refused) for each in outcome.accounts),
        "complaints": len(outcome.complaints),
        "stray files": len(found.stray),
        "uncompressed": found.uncompressed,
        "damaged files": found.damaged,
        "unexpired": found.unexpired,
        "dead writers": outcome.died,
        "hung writers": outcome.hung,
    }


def summary(plan: Plan, outcome: Outcome, found: Reckoning) -> Dict[str, Any]:
    """Return all that is to be told, as it stands in the JSON report."""
    counts = fault_counts(outcome, found)
    return {
        "version": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "file_system": kind_of(SYSTEM.file_system_table(), real_directory(str(plan.path))),
        "directory": str(plan.path.parent),
        "seed": plan.seed,
        "options": {
            "processes": plan.processes,
            "seconds": plan.seconds if plan.records is None else None,
            "records": plan.records,
            "kill": plan.kills,
            "freeze": plan.freezes,
            "compress": plan.terms.compressed,
            "timed": plan.terms.timed,
            "expire": plan.terms.keep,
            "max_bytes": plan.max_bytes,
        },
        "seconds": round(outcome.seconds, 3),
        "counts": {
            "records": found.acknowledged,
            "bytes": found.size,
            "files": found.files,
            "kills": outcome.kills,
            "freezes": outcome.freezes,
            "under way": found.under_way,
            "cut": found.cut,
            "expired": found.expired,
        },
        "call": {
            "median": round(outcome.median, 9),
            "slowest": round(outcome.slowest, 9),
            "slowest_between_calls": round(outcome.pause, 9),
        },
        "faults": {name: count for name, count in counts.items() if count},
        "notes": notes(outcome, found),
    }


def notes(outcome: Outcome, found: Reckoning) -> List[str]:
    """Return what else there is to say of faults, a line each."""
    told = list(found.notes) + [f"stray file: {name}" for name in found.stray]
    told += [f"told by a handler: {line}" for line in outcome.complaints[:MOST_COMPLAINTS]]
    if found.doubled and outcome.freezes:
        told.append(
            "A record may be there twice if its writer was frozen while its file was sealed (see README)."
        )
    return told


def report(plan: Plan, result: Dict[str, Any]) -> str:
    """Return the report as plain text."""
    terms, counts, call = plan.terms, result["counts"], result["call"]
    ways = [f"rotated at {plan.max_bytes:,} bytes" if plan.max_bytes else "not rotated by size"]
    ways += ["and each second"] * terms.timed + ["compressed"] * terms.compressed
    ways += [] if terms.keep is None else [f"{terms.keep} kept"]
    where = f"{result['cpus'] or '?'} CPUs and {result['file_system']}"
    what = f"{result['seconds']:g} s, one {plan.path.name}, {', '.join(ways)}, seed {plan.seed}"
    lines = [f"{plan.processes} processes on {where}, {what}", ""]
    lines += [f"  {name:<14}{count:>12,}" for name, count in counts.items()]
    faults = result["faults"]
    lines += [f"  {name:<14}{count:>12,}" for name, count in faults.items()]
    lines += [
        "",
        f"  median call            {call['median'] * 1e3:>10.3f} ms",
        f"  slowest call           {call['slowest'] * 1e3:>10.2f} ms",
        f"  slowest between calls  {call['slowest_between_calls'] * 1e3:>10.2f} ms   (that is the machine)",
        "",
    ]
    lines += [f"  {note}" for note in result["notes"]]
    wrong = ", ".join(f"{count:,} {name}" for name, count in faults.items())
    good = "Every record is there: once, whole and in order."
    lines.append(f"WRONG: {wrong}" if wrong else good)
    return "\n".join(lines)
