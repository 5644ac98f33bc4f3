"""Measure what a record costs above formatting: this handler, the standard library's, version 0.9.31."""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import time
from typing import TYPE_CHECKING, NamedTuple

import common

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RIVALS = (
    common.OS_WRITE,
    common.FILE_HANDLER,
    common.ROTATING,
    common.STANDARD_TIMED,
    common.ATOMIC,
    common.TIMED,
    common.EXCLUSIVE,
    common.RIVAL,
    common.RIVAL_TIMED,
)
TARGETS = {common.ATOMIC: 1.0, common.TIMED: 1.15, common.EXCLUSIVE: 3.0}
# The processor's time leaves out what other processes took of a core meanwhile, which on a busy machine is added
# to every rival alike, and draws all ratios towards 1. Nobody waits for anybody here: that would be left out too.
CLOCKS: dict[str, Callable[[], int]] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}
# Large enough that no rival rotates, and set, so that all of them look whether they have to.
MAX_BYTES = 1 << 30
FINE = 1e-5


class Round(NamedTuple):
    """Nanoseconds per record of one rival in one round, and of bare formatting beside it."""

    handling: float
    formatting: float


class Row(NamedTuple):
    """One line of the result."""

    name: str
    cost: common.Spread
    ratio: common.Spread


def make_record() -> logging.LogRecord:
    """Make a record as an application logs them: a few arguments, a line of some 110 bytes."""
    message = "order %d packed for %s: %d items in %.1f ms"
    arguments = (184467, "Zoë Łukasiewicz", 7, 12.5)
    return logging.LogRecord("shop.orders", logging.INFO, "orders.py", 42, message, arguments, None)


def time_records(
    handler: logging.Handler, record: logging.LogRecord, count: int, clock: Callable[[], int], apart: float
) -> int:
    """Return the nanoseconds that a handler takes for so many records, each so many seconds after the last one."""
    handle = handler.handle
    if apart:
        return sum(time_one(handle, record, clock, apart) for _ in itertools.repeat(None, count))
    started = clock()
    for _ in itertools.repeat(None, count):
        handle(record)
    return clock() - started


def time_one(
    handle: Callable[[logging.LogRecord], object],
    record: logging.LogRecord,
    clock: Callable[[], int],
    apart: float,
) -> int:
    """Return the nanoseconds of one record after a pause."""
    time.sleep(apart)
    started = clock()
    handle(record)
    return clock() - started


def build_worker(name: str, folder: Path, clock_name: str, apart: float) -> Callable[[int], Round]:
    """Set up one rival in its own process; what is returned measures one round."""
    path = folder / "app.log"
    handler = common.make_handler(name, path, MAX_BYTES, 5)
    formatting = common.make_handler(common.FORMATTING, path, 0, 0)
    record = make_record()
    clock = CLOCKS[clock_name]

    def measure(count: int) -> Round:
        gc.collect()
        gc.disable()
        # Half of the formatting before and half after: a machine that slows down meanwhile slows both.
        before = time_records(formatting, record, count // 2, clock, apart)
        handling = time_records(handler, record, count, clock, apart)
        after = time_records(formatting, record, count - count // 2, clock, apart)
        gc.enable()
        # Emptied while the pages are still in memory: the next rival does not pay for writing them to disk.
        if path.stat().st_size == 0:
            message = f"{name} has written nothing"
            raise common.BenchmarkError(message)
        os.truncate(path, 0)
        return Round(handling / count, (before + after) / count)

    return measure


def measure_all(
    names: Sequence[str], folders: common.Folders, directory: Path, options: argparse.Namespace
) -> dict[str, list[Round]]:
    """Drive one process per rival in turns; only one of them ever runs."""
    for name in names:
        (directory / name).mkdir()
    starting = (
        common.Worker(
            name, folders.of(name), build_worker, name, directory / name, options.clock, options.apart / 1e3
        )
        for name in names
    )
    with common.running(starting) as workers:
        by_name = dict(zip(names, workers))
        for worker in workers:
            worker.ask(max(1, options.records // 4))
        return common.interleave(names, options.rounds, lambda name: by_name[name].ask(options.records))


def summarize(results: dict[str, list[Round]]) -> list[Row]:
    """Take formatting off, round by round, and compare with the file handler of the same round."""
    costs = {
        name: common.differences([one.handling for one in rounds], [one.formatting for one in rounds])
        for name, rounds in results.items()
    }
    reference = costs[common.FILE_HANDLER]
    return [
        Row(name, common.quartiles(values), common.certain(common.ratios(values, reference)))
        for name, values in costs.items()
    ]


def table(rows: Sequence[Row], targets: dict[str, float] = TARGETS) -> str:
    """Lay the result out."""
    return common.format_table(
        ("rival", "ns/record", "quartiles", "x FileHandler", "certain", "target"),
        [
            (
                row.name,
                common.whole(row.cost.median),
                common.span(row.cost, common.whole),
                common.ratio(row.ratio.median),
                common.span(row.ratio, common.ratio),
                f"at most {targets[row.name]:.2f}" if row.name in targets else "",
            )
            for row in rows
        ],
    )


def samples(results: dict[str, list[Round]]) -> dict[str, list[float]]:
    """Turn the rounds into seconds per record: the rival's, and the formatting beside it."""
    kept: dict[str, list[float]] = {}
    for name, rounds in results.items():
        kept[name] = [one.handling / 1e9 for one in rounds]
        kept[f"{name} ({common.FORMATTING})"] = [one.formatting / 1e9 for one in rounds]
    return kept


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_arguments(parser)
    parser.add_argument("--rounds", type=int, help="rounds over all rivals (default: 200; quick: 10)")
    parser.add_argument("--records", type=int, help="records per rival and round (default: 500; quick: 200)")
    # Windows counts the processor's time in steps of 15 ms.
    coarse = time.get_clock_info("thread_time").resolution > FINE
    clock, what = "wall" if coarse else "cpu", "the processor's time, or the time that passed"
    parser.add_argument("--clock", choices=CLOCKS, default=clock, help=f"{what} (default: {clock})")
    parser.add_argument(
        "--apart",
        type=float,
        default=0.0,
        metavar="MS",
        help="milliseconds between two records (default: 0), with fewer --records",
    )
    common.choose(parser, RIVALS)
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (10 if options.quick else 200)
    options.records = options.records or (200 if options.quick else 500)
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    names = [name for name in RIVALS if name in options.rivals or name == common.FILE_HANDLER]
    folders = common.find_folders(options, names)
    with common.scratch(options.directory) as directory:
        results = measure_all(names, folders, directory, options)
    rounds = f"{options.rounds} rounds of {options.records} records, {options.clock} time"
    apart = f", {options.apart:g} ms apart" if options.apart else ""
    print(f"cost of a record above formatting: {rounds}{apart}\n")
    print(table(summarize(results), {} if options.apart else TARGETS))
    if options.json:
        common.save(options.json, samples(results), "seconds per record")


if __name__ == "__main__":
    common.run(main)
