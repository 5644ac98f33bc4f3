"""Measure what the number of backups costs: the writers beside a rotation, and the rotation itself."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import common

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RIVALS = (common.ATOMIC, common.EXCLUSIVE, common.RIVAL)
FEW, MANY = 5, 1000
HUGE, THREE = 99_999, 3
# No handler here rotates by itself: the rotations are the ones that are measured.
MAX_BYTES = 1 << 30
HEAD_START = 20_000_000
AWAKE = 5_000_000
SETTLING = 5.0


class Wait(NamedTuple):
    """One rotation in one process while another one logs; nanoseconds."""

    slowest: float
    rotation: float


class Rollover(NamedTuple):
    """One rotation with nobody beside it; nanoseconds, without and with the work it leaves to others."""

    rotation: float
    closed: float


def fill(folder: Path, backups: int) -> Path:
    """Make a folder with a log and so many small backups."""
    folder.mkdir()
    path = folder / "app.log"
    path.write_text("the live file\n", encoding="utf-8")
    for number in range(1, backups + 1):
        path.with_name(f"app.log.{number}").write_text(f"backup {number}\n", encoding="utf-8")
    return path


def count_backups(folder: Path) -> int:
    """Count the backups that are there."""
    return sum(1 for _path in folder.glob("app.log.*"))


# -- a writer beside a rotation ----------------------------------------------------------------------------


def switches() -> tuple[int, int]:
    """Count how often the core was taken away from this process, and how often it gave it away by itself."""
    if sys.platform == "win32":
        return 0, 0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_nvcsw


def is_disturbed(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Tell whether a call took its time because of other processes' work, not because it waited.

    Whoever waits for a lock or sleeps gives the core away, and all of such a call counts.
    """
    return after[0] != before[0] and after[1] == before[1]


def build_writer(name: str, path: Path, backup_count: int) -> Callable[[int, int], int]:
    """Set up a process that logs without a pause; what is returned gives the slowest undisturbed call."""
    logger = logging.getLogger("shop.orders")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(common.make_handler(name, path, MAX_BYTES, backup_count))
    logger.info("ready")

    def log(start: int, duration: int) -> int:
        clock, write, slowest = time.perf_counter_ns, logger.info, 0
        time.sleep(max(0, start - clock()) / 1e9)
        now, end, times = clock(), start + duration, switches()
        while now < end:
            write("order %d packed", 184467)
            before, now = now, clock()
            earlier, times = times, switches()
            if not is_disturbed(earlier, times):
                slowest = max(slowest, now - before)
        return slowest

    return log


def build_rotator(name: str, path: Path, backup_count: int) -> Callable[[int, bool], int]:
    """Set up a process that rotates; what is returned gives the duration, or 0 without a rotation."""
    handler = common.make_handler(name, path, MAX_BYTES, backup_count)

    def rotate(moment: int, really: bool) -> int:
        clock = time.perf_counter_ns
        time.sleep(max(0, moment - AWAKE - clock()) / 1e9)
        # Awake on a core of its own by then: one that wakes up to rotate may well take the writer's.
        while clock() < moment:
            pass
        started = clock()
        if not really:
            return 0
        common.roll_over(name, handler)
        return clock() - started

    return rotate


class Scene:
    """A log with its backups, a process that logs and one that rotates."""

    def __init__(self, name: str, backups: int, path: Path, workers: Sequence[common.Worker]) -> None:
        """Keep what belongs together."""
        self.title = f"{name}, {backups:,} backups"
        self.backups = backups
        self.path = path
        self.writer, self.rotator = workers

    def play(self, window: float, *, rotate: bool) -> Wait:
        """Log through the window, and rotate when a quarter of it is over."""
        start, duration = time.perf_counter_ns() + HEAD_START, int(window * 1e9)
        before = self.path.stat().st_ino
        self.writer.send(start, duration)
        rotation = self.rotator.ask(start + duration // 4, rotate)
        slowest = self.writer.receive()
        if rotate:
            self.settle(before)
        return Wait(slowest, rotation)

    def settle(self, before: int) -> None:
        """Wait until the expired backup is gone, check that all is as before, and give the space back."""
        end = time.monotonic() + SETTLING
        while count_backups(self.path.parent) != self.backups and time.monotonic() < end:
            time.sleep(0.001)
        found = count_backups(self.path.parent)
        if found != self.backups or self.path.stat().st_ino == before:
            message = f"{self.title}: {found} backups after a rotation"
            raise common.BenchmarkError(message)
        os.truncate(f"{self.path}.1", 0)


def measure_waits(
    names: Sequence[str], folders: common.Folders, directory: Path, rounds: int, window: float
) -> dict[str, list[Wait]]:
    """Take turns over the rivals, each with few and with many backups; and once nobody rotates."""
    cases = [(name, backups) for name in names for backups in (FEW, MANY)]
    paths = [fill(directory / f"{name}-{backups}", backups) for name, backups in cases]
    starting = (
        common.Worker(f"{name}, {backups} backups", folders.of(name), build, name, path, backups)
        for (name, backups), path in zip(cases, paths)
        for build in (build_writer, build_rotator)
    )
    with common.running(starting) as workers:
        scenes = [
            Scene(name, backups, path, workers[2 * index : 2 * index + 2])
            for index, ((name, backups), path) in enumerate(zip(cases, paths))
        ]
        by_title = {scene.title: scene for scene in scenes}
        calm = f"{names[0]}, no rotation"

        def measure(title: str) -> Wait:
            if title == calm:
                return scenes[0].play(window, rotate=False)
            return by_title[title].play(window, rotate=True)

        return common.interleave([calm, *by_title], rounds, measure)


def wait_table(results: dict[str, list[Wait]]) -> str:
    """Lay out the writer's slowest calls, those with many backups as ratios to those with few."""
    rows = []
    for title, waits in results.items():
        slowest = [one.slowest / 1e3 for one in waits]
        spread = common.quartiles(slowest)
        few = title.replace(f"{MANY:,} backups", f"{FEW} backups")
        times = common.certain(common.ratios(slowest, [one.slowest / 1e3 for one in results[few]]))
        rotation = statistics.median(one.rotation / 1e3 for one in waits)
        rows.append(
            (
                title,
                common.whole(spread.median),
                common.span(spread, common.whole),
                common.whole(max(slowest)),
                common.ratio(times.median) if few != title else "",
                common.span(times, common.ratio) if few != title else "",
                common.whole(rotation) if rotation else "",
            )
        )
    headers = ("slowest call, us", "quartiles", "worst", f"x {FEW} backups", "certain", "rotation, us")
    return common.format_table(("rival", *headers), rows)


# -- the rotation itself -----------------------------------------------------------------------------------


def build_timer(name: str) -> Callable[[Path, int], Rollover]:
    """Set up a process that times single rotations."""

    def measure(folder: Path, backup_count: int) -> Rollover:
        handler = common.make_handler(name, fill(folder, THREE), MAX_BYTES, backup_count)
        handler.handle(logging.LogRecord("shop.orders", logging.INFO, "", 0, "first", (), None))
        started = time.perf_counter_ns()
        common.roll_over(name, handler)
        rotated = time.perf_counter_ns()
        handler.close()
        closed = time.perf_counter_ns()
        if count_backups(folder) != THREE + 1:
            message = f"{name}: {count_backups(folder)} backups after a rotation"
            raise common.BenchmarkError(message)
        shutil.rmtree(folder)
        return Rollover(rotated - started, closed - started)

    return measure


def measure_rollovers(
    names: Sequence[str], folders: common.Folders, directory: Path, pairs: int
) -> dict[tuple[str, int], list[Rollover]]:
    """Rotate a log with three backups, under a small and a huge backupCount by turns."""
    starting = (common.Worker(name, folders.of(name), build_timer, name) for name in names)
    with common.running(starting) as workers:
        by_name = dict(zip(names, workers))
        cases = {f"{name} {count}": (name, count) for name in names for count in (FEW, HUGE)}
        for worker in workers:
            worker.ask(directory / "rollover", FEW)

        def measure(case: str) -> Rollover:
            name, count = cases[case]
            answer: Rollover = by_name[name].ask(directory / "rollover", count)
            return answer

        results = common.interleave(list(cases), pairs, measure)
    return {cases[case]: rollovers for case, rollovers in results.items()}


def rollover_table(results: dict[tuple[str, int], list[Rollover]]) -> str:
    """Lay out the durations with a huge backupCount beside those with a small one."""
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys(name for name, _count in results):
        for part, what in enumerate(("doRollover()", "doRollover() and close()")):
            few, huge = ([one[part] / 1e3 for one in results[name, count]] for count in (FEW, HUGE))
            times = common.certain(common.ratios(huge, few))
            medians = [common.whole(statistics.median(values)) for values in (few, huge)]
            bounds = common.span(times, common.ratio)
            rows.append((f"{name}, {what}", *medians, common.ratio(times.median), bounds))
    headers = ("rival", f"backupCount={FEW}, us", f"backupCount={HUGE}, us", "ratio", "certain")
    return common.format_table(headers, rows)


def samples(
    waits: dict[str, list[Wait]], rollovers: dict[tuple[str, int], list[Rollover]]
) -> dict[str, list[float]]:
    """Turn everything into seconds."""
    kept = {f"slowest call, {title}": [one.slowest / 1e9 for one in some] for title, some in waits.items()}
    for (name, count), pairs in rollovers.items():
        kept[f"doRollover, {name}, backupCount={count}"] = [one.rotation / 1e9 for one in pairs]
        kept[f"doRollover and close, {name}, backupCount={count}"] = [one.closed / 1e9 for one in pairs]
    return kept


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_arguments(parser)
    parser.add_argument("--rounds", type=int, help="rotations beside a writer (default: 40; quick: 5)")
    parser.add_argument("--window", type=float, default=0.1, help="seconds of logging (default: 0.1)")
    parser.add_argument("--pairs", type=int, help="pairs of rotations alone (default: 200; quick: 20)")
    common.choose(parser, RIVALS)
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (5 if options.quick else 40)
    options.pairs = options.pairs or (20 if options.quick else 200)
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    names = [name for name in RIVALS if name in options.rivals]
    folders = common.find_folders(options, names)
    with common.scratch(options.directory) as directory:
        waits = measure_waits(names, folders, directory, options.rounds, options.window)
        rollovers = measure_rollovers(names, folders, directory, options.pairs)
    print(f"a writer while another process rotates: {options.rounds} windows of {options.window:g} s\n")
    print(wait_table(waits))
    print(f"\none rotation of a log with {THREE} backups: {options.pairs} pairs\n")
    print(rollover_table(rollovers))
    if options.json:
        common.save(options.json, samples(waits, rollovers), "seconds")


if __name__ == "__main__":
    common.run(main)
