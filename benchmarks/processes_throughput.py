"""Measure eight processes on one rotating file: records per second, and how long a single call takes."""

from __future__ import annotations

import argparse
import contextlib
import logging
import re
import shutil
import statistics
import time
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

RIVALS = (common.ATOMIC, common.EXCLUSIVE, common.RIVAL, common.ROTATING)
TARGETS = {common.ATOMIC: 4.0}
MAX_BYTES = 1_000_000
# More than a repetition fills: what is missing in the end was lost, not expired.
BACKUP_COUNT = 500
HEAD_START = 100_000_000
MESSAGE = "writer %d record %d: order packed for %s, %d items in %.1f ms, done"
LINE = re.compile(r"\d+-\d+-\d+ [\d:,]+ INFO \[\d+\] shop\.orders: writer (\d+) record (\d+): [^:]*, done")


class Outcome(NamedTuple):
    """What came of the records of a repetition."""

    logged: int
    errors: int
    lost: int
    doubled: int
    torn: int


class Latency(NamedTuple):
    """Nanoseconds that the calls of a repetition took."""

    half: float
    most: float
    nearly_all: float
    slowest: float


class Repetition(NamedTuple):
    """One burst of one rival."""

    rate: float
    latency: Latency
    outcome: Outcome


def build_writer(name: str, number: int) -> Callable[..., Any]:
    """Set up one writer in its own process; what is returned opens, logs and closes, as it is told."""
    logger = logging.getLogger("shop.orders")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    errors: list[logging.LogRecord] = []

    def open_log(path: Path) -> None:
        logger.addHandler(common.make_handler(name, path, MAX_BYTES, BACKUP_COUNT, errors.append))

    def log(start: int, duration: int) -> tuple[int, bytes, int]:
        errors.clear()
        clock, write, calls = time.perf_counter_ns, logger.info, array("Q")
        time.sleep(max(0, start - clock()) / 1e9)
        now, end = clock(), start + duration
        while now < end:
            write(MESSAGE, number, len(calls), "Zoë Łukasiewicz", 7, 12.5)
            before, now = now, clock()
            calls.append(now - before)
        return now, calls.tobytes(), len(errors)

    def close_log() -> None:
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()

    actions: dict[str, Callable[..., Any]] = {"open": open_log, "log": log, "close": close_log}
    return lambda action, *args: actions[action](*args)


def ask_all(workers: Sequence[common.Worker], *request: object) -> list[Any]:
    """Ask all the workers at the same time."""
    for worker in workers:
        worker.send(*request)
    return [worker.receive() for worker in workers]


def repeat(workers: Sequence[common.Worker], folder: Path, seconds: float) -> Repetition:
    """Let all writers log into one file for a while, then read everything back."""
    folder.mkdir()
    ask_all(workers, "open", folder / "app.log")
    start = time.perf_counter_ns() + HEAD_START
    answers = ask_all(workers, "log", start, int(seconds * 1e9))
    ask_all(workers, "close")
    calls = []
    for _end, data, _errors in answers:
        part = array("Q")
        part.frombytes(data)
        calls.append(part)
    elapsed = max(end for end, _data, _errors in answers) - start
    errors = sum(errors for _end, _data, errors in answers)
    outcome = read_back(read_lines(folder), [len(part) for part in calls], errors)
    shutil.rmtree(folder)
    durations = latency(call for part in calls for call in part)
    return Repetition(outcome.logged * 1e9 / elapsed, durations, outcome)


def read_lines(folder: Path) -> Iterable[str]:
    """Read the log and its backups; a file that is no log of ours counts as torn lines."""
    for path in sorted(folder.glob("app.log*")):
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def read_back(lines: Iterable[str], logged: Sequence[int], errors: int) -> Outcome:
    """Compare what is in the files with what was logged."""
    found: set[tuple[int, int]] = set()
    whole = torn = 0
    for line in lines:
        match = LINE.fullmatch(line.rstrip("\n"))
        if match is None:
            torn += 1
        else:
            whole += 1
            found.add((int(match[1]), int(match[2])))
    return Outcome(sum(logged), errors, sum(logged) - len(found), whole - len(found), torn)


def latency(calls: Iterable[int]) -> Latency:
    """Sum up how long the calls took."""
    ordered = sorted(calls)
    return Latency(*(common.percentile(ordered, share) for share in (0.5, 0.99, 0.999, 1.0)))


def measure(
    names: Sequence[str], folders: common.Folders, directory: Path, options: argparse.Namespace
) -> dict[int, dict[str, list[Repetition]]]:
    """Let the rivals take turns, first with one writer, then with all."""
    numbers = range(options.processes)
    starting = (
        common.Worker(f"{name}, writer {number}", folders.of(name), build_writer, name, number)
        for name in names
        for number in numbers
    )
    with common.running(starting) as workers:
        crews = {
            name: workers[index * len(numbers) : (index + 1) * len(numbers)]
            for index, name in enumerate(names)
        }
        results = {}
        for crew in sorted({1, options.processes}):

            def burst(name: str, crew: int = crew) -> Repetition:
                return repeat(crews[name][:crew], directory / "run", options.seconds)

            results[crew] = common.interleave(names, options.repetitions, burst)
        return results


def rate_table(results: dict[str, list[Repetition]]) -> str:
    """Lay out the records per second, and what became of them."""
    rates = {name: [one.rate for one in repetitions] for name, repetitions in results.items()}
    rows = []
    for name, repetitions in results.items():
        spread = common.quartiles(rates[name])
        times = common.certain(common.ratios(rates[name], rates[common.RIVAL]))
        totals = [sum(column) for column in zip(*(one.outcome for one in repetitions))]
        rows.append(
            (
                name,
                common.whole(spread.median),
                common.span(spread, common.whole),
                common.ratio(times.median),
                common.span(times, common.ratio),
                f"at least {TARGETS[name]:.2f}" if name in TARGETS else "",
                *(common.whole(total) for total in totals),
            )
        )
    headers = ("rival", "records/s", "quartiles", f"x {common.RIVAL}", "certain", "target")
    return common.format_table((*headers, "logged", "errors", "lost", "doubled", "torn"), rows)


def latency_table(results: dict[int, dict[str, list[Repetition]]]) -> str:
    """Lay out the calls: medians over the repetitions, and the slowest call of all of them."""
    rows = []
    for crew, by_name in results.items():
        for name, repetitions in by_name.items():
            columns = list(zip(*(one.latency for one in repetitions)))
            medians = [common.whole(statistics.median(column)) for column in columns]
            rows.append((name, str(crew), *medians, common.whole(max(columns[-1]))))
    headers = ("rival", "processes", "p50", "p99", "p99.9", "slowest", "slowest of all")
    return common.format_table(headers, rows)


def samples(results: dict[int, dict[str, list[Repetition]]]) -> dict[str, list[float]]:
    """Turn the repetitions into seconds per record, so that less is better for pyperf too."""
    kept: dict[str, list[float]] = {}
    for crew, by_name in results.items():
        for name, repetitions in by_name.items():
            kept[f"{name}, {crew} writers"] = [1 / one.rate for one in repetitions]
            kept[f"{name}, {crew} writers, p99.9 of a call"] = [
                one.latency.nearly_all / 1e9 for one in repetitions
            ]
    return kept


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_arguments(parser)
    parser.add_argument("--processes", type=int, default=8, help="writers on one file (default: 8)")
    parser.add_argument("--repetitions", type=int, help="bursts per rival (default: 20; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a burst (default: 0.5; quick: 0.2)")
    common.choose(parser, RIVALS)
    options = parser.parse_args(arguments)
    options.repetitions = options.repetitions or (3 if options.quick else 20)
    options.seconds = options.seconds or (0.2 if options.quick else 0.5)
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    names = [name for name in RIVALS if name in options.rivals or name == common.RIVAL]
    folders = common.find_folders(options, names)
    with common.scratch(options.directory) as directory:
        results = measure(names, folders, directory, options)
    burst = f"median of {options.repetitions} bursts of {options.seconds:g} s"
    print(f"{options.processes} processes, one file, rotating at {MAX_BYTES:,} bytes: {burst}\n")
    print(rate_table(results[options.processes]))
    print("\nnanoseconds per logging call, formatting included\n")
    print(latency_table(results))
    if options.json:
        common.save(options.json, samples(results), "seconds per record")


if __name__ == "__main__":
    common.run(main)
