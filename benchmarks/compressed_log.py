"""Measure what compression costs: a writer beside it, eight writers on one file, and the memory it takes."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import logging
import os
import random
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import common
import processes_throughput as throughput
from backup_count import is_disturbed, switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

RIVALS = (common.FILE_HANDLER, common.GZIP, common.RIVAL_GZIP)
TARGET = 4.0
LARGE = 40_000_000
HUGE = 2_000_000_000
# No handler here rotates by itself, where one rotation is measured.
NEVER_FULL = 1 << 40
BACKUP_COUNT = 500
PAUSE = 0.0005
PROCESSES = 8
LINE = "2026-11-22 10:00:00,%03d INFO [%d] shop.orders: order %d packed for Zoe, %d items in %.1f ms, done\n"


def plausible_text(size: int) -> bytes:
    """Make up some bytes of log, which compress as those of a server do."""
    chance = random.Random(1)  # noqa: S311 - no secrets
    lines, length = [], 0
    while length < size:
        numbers = (
            chance.randrange(1000),
            chance.randrange(100_000),
            chance.randrange(10**6),
            chance.randrange(9),
        )
        lines.append((LINE % (*numbers, 99 * chance.random())).encode())
        length += len(lines[-1])
    return b"".join(lines)


def fill(path: Path, size: int) -> None:
    """Write a log of about this size."""
    block = plausible_text(min(size, 4_000_000))
    with path.open("wb") as file:
        for _ in range(max(1, size // len(block))):
            file.write(block)


# -- a writer beside the compression of a large file -------------------------------------------------------


def build_writer(name: str) -> Callable[[Path, int], list[int]]:
    """Set up a process that logs every now and then; what is returned gives the undisturbed calls' durations."""
    logger = logging.getLogger("shop.orders")
    logger.setLevel(logging.INFO)
    logger.propagate = False

    def log(path: Path, duration: int) -> list[int]:
        handler = common.make_handler(name, path, NEVER_FULL, BACKUP_COUNT)
        logger.addHandler(handler)
        logger.info("ready")
        clock, write, calls = time.perf_counter_ns, logger.info, []
        end = clock() + duration
        while clock() < end:
            earlier, before = switches(), clock()
            write("order %d packed", 184467)
            now, later = clock(), switches()
            if not is_disturbed(earlier, later):
                calls.append(now - before)
            time.sleep(PAUSE)
        logger.removeHandler(handler)
        handler.close()
        return calls

    return log


def build_rotator(name: str) -> Callable[[Path], float]:
    """Set up a process that rotates and compresses; for `FileHandler`, it compresses the file and no more."""

    def rotate(path: Path) -> float:
        started = time.perf_counter()
        if name == common.FILE_HANDLER:
            with path.open("rb") as plain, gzip.open(f"{path}.1.gz", "wb", 6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 18)
        else:
            handler: Any = common.make_handler(name, path, NEVER_FULL, BACKUP_COUNT)
            common.roll_over(name, handler)
            handler.close()
        return time.perf_counter() - started

    return rotate


class Wait(NamedTuple):
    """One compression in one process while another one logs: seconds."""

    slowest: float
    compression: float


def measure_waits(
    names: Sequence[str], folders: common.Folders, directory: Path, options: argparse.Namespace
) -> dict[str, list[Wait]]:
    """Take turns over the rivals."""
    starting = (
        common.Worker(f"{name}, {build.__name__}", folders.of(name), build, name)
        for name in names
        for build in (build_writer, build_rotator)
    )
    with common.running(starting) as workers:
        pairs = {name: workers[2 * index : 2 * index + 2] for index, name in enumerate(names)}

        def measure(name: str) -> Wait:
            writer, rotator = pairs[name]
            folder = directory / "wait"
            folder.mkdir()
            fill(folder / "app.log", options.size)
            os.sync()  # what is still to be written would be the writer's to wait for
            writer.send(folder / "app.log", int(options.window * 1e9))
            time.sleep(options.window / 8)
            compression = rotator.ask(folder / "app.log")
            calls = writer.receive()
            if not (folder / "app.log.1.gz").stat().st_size:
                message = f"{name}: nothing was compressed"
                raise common.BenchmarkError(message)
            shutil.rmtree(folder)
            return Wait(max(calls) / 1e9, compression)

        return common.interleave(names, options.rounds, measure)


def wait_table(results: dict[str, list[Wait]]) -> str:
    """Lay out the slowest calls, beside those of `FileHandler`."""
    rows = []
    plain = [one.slowest for one in results[common.FILE_HANDLER]]
    for name, waits in results.items():
        slowest = [one.slowest for one in waits]
        spread = common.quartiles([each * 1e3 for each in slowest])
        times = common.certain(common.ratios(slowest, plain))
        rows.append(
            (
                name,
                common.ratio(spread.median),
                common.span(spread, common.ratio),
                common.ratio(max(slowest) * 1e3),
                common.ratio(times.median),
                common.span(times, common.ratio),
                common.whole(statistics.median(one.compression * 1e3 for one in waits)),
            )
        )
    headers = ("slowest call, ms", "quartiles", "worst", "x FileHandler", "certain", "compression, ms")
    return common.format_table(("rival", *headers), rows)


# -- eight writers on one file -----------------------------------------------------------------------------


class Burst(NamedTuple):
    """What eight writers did."""

    rate: float
    closed_after: float
    outcome: throughput.Outcome


def measure_rates(
    names: Sequence[str], folders: common.Folders, directory: Path, options: argparse.Namespace
) -> dict[str, list[Burst]]:
    """Let the rivals take turns, with one file that rotates and is compressed."""
    starting = (
        common.Worker(f"{name}, writer {number}", folders.of(name), throughput.build_writer, name, number)
        for name in names
        for number in range(PROCESSES)
    )
    with common.running(starting) as workers:
        crews = {
            name: workers[index * PROCESSES : (index + 1) * PROCESSES] for index, name in enumerate(names)
        }

        def burst(name: str) -> Burst:
            folder = directory / "rate"
            folder.mkdir()
            throughput.ask_all(crews[name], "open", folder / "app.log")
            start = time.perf_counter_ns() + throughput.HEAD_START
            answers = throughput.ask_all(crews[name], "log", start, int(options.seconds * 1e9))
            logged = time.perf_counter_ns()
            throughput.ask_all(crews[name], "close")
            closed_after = (time.perf_counter_ns() - logged) / 1e9
            counts = [len(data) // 8 for _end, data, _errors in answers]
            errors = sum(errors for _end, _data, errors in answers)
            outcome = throughput.read_back(read_lines(folder), counts, errors)
            shutil.rmtree(folder)
            elapsed = max(end for end, _data, _errors in answers) - start
            return Burst(sum(counts) * 1e9 / elapsed, closed_after, outcome)

        return common.interleave(names, options.bursts, burst)


def read_lines(folder: Path) -> Iterable[str]:
    """Read the log and its backups; a file that is no log of ours counts as torn lines."""
    for path in sorted(folder.glob("app.log*")):
        opened = gzip.open if path.suffix == ".gz" else open
        with contextlib.suppress(FileNotFoundError), opened(
            path, "rt", encoding="utf-8", errors="replace"
        ) as file:
            yield from file


def rate_table(results: dict[str, list[Burst]]) -> str:
    """Lay out the records per second, and what became of them."""
    rows = []
    rival = [one.rate for one in results[common.RIVAL_GZIP]]
    for name, bursts in results.items():
        rates = [one.rate for one in bursts]
        spread = common.quartiles(rates)
        times = common.certain(common.ratios(rates, rival))
        totals = [sum(column) for column in zip(*(one.outcome for one in bursts))]
        rows.append(
            (
                name,
                common.whole(spread.median),
                common.span(spread, common.whole),
                common.ratio(times.median),
                common.span(times, common.ratio),
                f"at least {TARGET:.2f}" if name == common.GZIP else "",
                common.ratio(statistics.median(one.closed_after for one in bursts)),
                *(common.whole(total) for total in totals),
            )
        )
    headers = (
        "rival",
        "records/s",
        "quartiles",
        f"x {common.RIVAL_GZIP}",
        "certain",
        "target",
        "closed after, s",
    )
    return common.format_table((*headers, "logged", "errors", "lost", "doubled", "torn"), rows)


# -- memory ------------------------------------------------------------------------------------------------


def build_packer(name: str) -> Callable[[Path], tuple[int, int]]:
    """Set up a process that compresses a huge file; it gives the memory that it has before, and its peak."""

    def memory(line: str) -> int:
        with Path("/proc/self/status").open(encoding="ascii") as file:
            return next(1024 * int(each.split()[1]) for each in file if each.startswith(line))

    def pack(path: Path) -> tuple[int, int]:
        handler: Any = common.make_handler(name, path, NEVER_FULL, BACKUP_COUNT)
        handler.handle(logging.LogRecord("shop.orders", logging.INFO, "", 0, "ready", (), None))
        with Path("/proc/self/clear_refs").open("w", encoding="ascii") as file:
            file.write("5")  # the peak begins anew (proc(5))
        before = memory("VmRSS:")
        common.roll_over(name, handler)
        handler.wait_for_upkeep()
        handler.close()
        return before, memory("VmHWM:")

    return pack


def measure_memory(folders: common.Folders, directory: Path, size: int) -> str:
    """Compress a huge file, and tell how much more memory that took than logging alone."""
    folder = directory / "memory"
    folder.mkdir()
    fill(folder / "app.log", size)
    with common.running([common.Worker("memory", folders.package, build_packer, common.GZIP)]) as (worker,):
        before, after = worker.ask(folder / "app.log")
    shutil.rmtree(folder)
    return f"{size:,} bytes compressed: {(after - before) / 1e6:.1f} MB more than the {before / 1e6:.1f} MB before"


# -- command line ------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_arguments(parser)
    parser.add_argument("--rounds", type=int, help="compressions of a large file (default: 24; quick: 2)")
    parser.add_argument("--size", type=int, help=f"of that file (default: {LARGE:,}; quick: a tenth)")
    parser.add_argument("--window", type=float, help="seconds of logging beside it (default: 3; quick: 1)")
    parser.add_argument("--bursts", type=int, help="bursts of eight writers (default: 10; quick: 2)")
    parser.add_argument("--seconds", type=float, help="length of a burst (default: 1; quick: 0.2)")
    parser.add_argument(
        "--huge", type=int, help=f"size of a huge file (default: {HUGE:,}; quick: a hundredth)"
    )
    options = parser.parse_args(arguments)
    quick = options.quick
    options.rounds = options.rounds or (2 if quick else 24)
    options.size = options.size or (LARGE // 10 if quick else LARGE)
    options.window = options.window or (1 if quick else 3)
    options.bursts = options.bursts or (2 if quick else 10)
    options.seconds = options.seconds or (0.2 if quick else 1)
    options.huge = options.huge or (HUGE // 100 if quick else HUGE)
    return options


def samples(
    waits: dict[str, list[Wait]], bursts: dict[str, list[Burst]]
) -> Iterator[tuple[str, list[float]]]:
    """Turn the rounds into seconds, so that less is better for pyperf too."""
    for name, rounds in waits.items():
        yield f"{name}, slowest call", [one.slowest for one in rounds]
    for name, bursts_of_one in bursts.items():
        yield f"{name}, {PROCESSES} writers", [1 / one.rate for one in bursts_of_one]


def main() -> None:
    """Measure and print."""
    options = parse()
    folders = common.find_folders(options, RIVALS)
    with common.scratch(options.directory) as directory:
        waits = measure_waits(RIVALS, folders, directory, options)
        print(f"a writer beside the compression of {options.size:,} bytes, {options.rounds} times\n")
        print(wait_table(waits))
        bursts = measure_rates((common.GZIP, common.RIVAL_GZIP), folders, directory, options)
        what = f"{PROCESSES} processes, one file, rotating at {throughput.MAX_BYTES:,} bytes, compressed"
        print(f"\n{what}: median of {options.bursts} bursts of {options.seconds:g} s\n")
        print(rate_table(bursts))
        if sys.platform == "linux":
            print(f"\n{measure_memory(folders, directory, options.huge)}")
    if options.json:
        common.save(options.json, dict(samples(waits, bursts)), "seconds")


if __name__ == "__main__":
    common.run(main)
