"""Many processes, one boundary: whatever becomes of them, each record is there once, in the file of its period."""

import datetime as dt
import functools
import itertools
import os
import random
import re
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import pytest

from concurrent_log_handler.cli.reckoning import mark, read_records
from concurrent_log_handler.state import PAGE_SIZE
from support.children import Child, Children
from support.clock import HOUR, Clock, Jumping, Numbers
from support.folder import HELPERS, LIVE, LOCK, PAGE
from support.records import EVEN
from support.writers import Said, Scribe, WatchedTimedHandler

BACKUP = re.compile(re.escape(LIVE) + r"\.([0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9-]+)(?:\.([1-9][0-9]*))?")
LOGGED_AT = re.compile(rb"\] ([0-9.]+) ")


class File(NamedTuple):
    """A file of a log: the date in its name, its counter, and its records as (writer, number, logged at)."""

    date: str
    counter: int
    records: List[Tuple[int, int, float]]


NOW = "the present"


def read_all(folder: Path) -> List[File]:
    """Read a log from its oldest file to its live one, and assert that there is nothing else."""
    names = {each.name for each in folder.iterdir()} - HELPERS
    files = [File(NOW, 0, records_in(folder / LIVE))]
    for name in names - {LIVE}:
        match = BACKUP.fullmatch(name)
        assert match, f"{name} is a stray file"
        files.append(File(match.group(1), int(match.group(2) or 0), records_in(folder / name)))
    assert len((folder / PAGE).read_bytes()) % 2 == PAGE_SIZE % 2
    return sorted(files)


def records_in(path: Path) -> List[Tuple[int, int, float]]:
    written = path.read_bytes().splitlines(keepends=True)
    found = []
    for number, (writer, sequence) in read_records(written):
        logged_at = LOGGED_AT.search(written[number - 1])
        assert writer, f"{path.name}, line {number} is torn: {written[number - 1]!r}"
        assert logged_at
        found.append((writer, sequence, float(logged_at.group(1))))
    return found


def numbers_by_writer(files: Sequence[File]) -> Dict[int, List[int]]:
    found: Dict[int, List[int]] = {}
    for file in files:
        for writer, number, _ in file.records:
            found.setdefault(writer, []).append(number)
    return found


def assert_counters_are_consecutive(files: Sequence[File]) -> None:
    for date, group in itertools.groupby(files, key=lambda file: file.date):
        counters = [file.counter for file in group]
        assert counters == list(range(len(counters))), date


# ------------------------------------------------------------------------ one boundary for all


def make_handler(live: Path, clock: Clock, locking: str, max_bytes: int = 0) -> WatchedTimedHandler:
    return Jumping(
        str(live), clock=clock, when="H", utc=True, maxBytes=max_bytes, locking=locking, patience=5.0
    )


@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
@pytest.mark.parametrize("max_bytes", [0, 16 * EVEN])
def test_of_all_that_come_to_a_boundary_one_rotates(
    live: Path, children: Children, locking: str, max_bytes: int
) -> None:
    clock = Clock()

    def timed(writer: int, number: int) -> str:
        return mark("", writer, number, f" {clock():.0f} ".ljust(EVEN - len(mark("", writer, number, "\n"))))

    make = functools.partial(make_handler, live, clock, locking, max_bytes)
    writers = [children.writer(make, number, timed) for number in (1, 2, 3, 4)]
    ends = []
    said: List[Said] = []
    for _ in range(8):
        for writer in writers:
            writer.tell(20)
        said = [writer.said() for writer in writers]
        assert [(each.failures, each.reports) for each in said] == [((), ())] * len(writers)
        ends.append(int((live.parent / LOCK).read_text()))
        clock.advance(HOUR + 1)

    files = read_all(live.parent)
    assert sum(each.rotations for each in said) == len(files) - 1
    assert_counters_are_consecutive(files)
    begins = [end - HOUR for end in ends]
    dates = [dt.datetime.fromtimestamp(begin, dt.timezone.utc).strftime("%Y-%m-%d_%H") for begin in begins]
    assert {file.date for file in files} == {*(dates if max_bytes else dates[:-1]), NOW}
    for file in files:
        period = -1 if file.date == NOW else dates.index(file.date)
        logged_at = {at for _, _, at in file.records}
        if (
            locking == "atomic"
        ):  # who comes while another one is at it does not wait, but appends to the old file
            logged_at -= set(begins[period + 1 : period + 2]) if file.date != NOW else set()
        assert logged_at == {begins[period]}
    assert numbers_by_writer(files) == {number: list(range(1, 8 * 20 + 1)) for number in range(1, 5)}


# ------------------------------------------------------------------------ in real time, with kills

PERIODS = 30
PROCESSES = 4
SEED = 20261122
LATE = 0.25
"""Seconds that may pass between the time that a record bears and its write, on a machine with few processors."""
MOST_WRITERS = 4_000
MAX_BYTES = 256 * EVEN


def now_in_text(writer: int, number: int) -> str:
    """Return a text with the time of logging that makes a line of `EVEN` bytes.

    So no record lies across a multiple of 4,096 bytes, where a kill may cut the write of one in two.
    """
    return mark("", writer, number, f" {time.time():.6f} ".ljust(EVEN - len(mark("", writer, number, "\n"))))


class Log(NamedTuple):
    """A log, and how many records each of its writers has been told to be written."""

    path: Path
    max_bytes: int
    acknowledged: Numbers

    def make(self) -> WatchedTimedHandler:
        # Not the shortest patience: on a busy machine a peer may well be suspended for that long.
        return WatchedTimedHandler(str(self.path), when="S", utc=True, maxBytes=self.max_bytes)


def log_until_told(connection: Connection, logs: Sequence[Log], number: int) -> None:
    """Log to all logs in turn; end when there is a message, or say why not, if something is wrong."""
    scribes = [Scribe(log.make(), number, now_in_text) for log in logs]
    while not connection.poll(0.001):
        for log, scribe in zip(logs, scribes):
            said = scribe.log()
            if said.failures or said.reports:
                connection.send(said)
                return
            log.acknowledged[number] = scribe.logged
    for scribe in scribes:
        scribe.handler.close()
    connection.send([scribe.said() for scribe in scribes])


class Fleet:
    """Processes that log, each with a number of its own."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._logs = logs
        self._started = 0
        self._running: Dict[int, Child] = {}

    def start_one(self) -> None:
        self._started += 1
        assert self._started < MOST_WRITERS
        self._running[self._started] = Child("fork", log_until_told, self._logs, self._started)

    def kill_one(self, dice: random.Random) -> None:
        child = self._running.pop(dice.choice(sorted(self._running)))
        os.kill(child.pid, signal.SIGKILL)
        code = child.ended()
        assert code == -signal.SIGKILL, child.rest()
        child.kill()

    def end(self) -> List[int]:
        """Let all that are left come to their ordinary end; return their numbers."""
        for child in self._running.values():
            child.tell(None)
        for child in self._running.values():
            assert [(said.failures, said.reports) for said in child.answer()] == [((), ())] * len(self._logs)
            assert child.ended() == 0
        return sorted(self._running)

    def kill(self) -> None:
        while self._running:
            self._running.popitem()[1].kill()


@pytest.mark.timeout(180)
def test_four_processes_with_random_kills_across_thirty_periods(tmp_path: Path) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secret
    logs = [
        Log(tmp_path / name / LIVE, max_bytes, Numbers(MOST_WRITERS))
        for name, max_bytes in (("by-time", 0), ("by-size-too", MAX_BYTES))
    ]
    for log in logs:
        log.path.parent.mkdir()
    fleet = Fleet(logs)
    try:
        for _ in range(PROCESSES):
            fleet.start_one()
        deadline = time.monotonic() + PERIODS + 1
        while time.monotonic() < deadline:
            time.sleep(dice.uniform(0.0, 0.15))
            fleet.kill_one(dice)
            fleet.start_one()
        ended = fleet.end()
    finally:
        fleet.kill()
    for log in logs:
        last = log.make()
        last.close()
        assert (last.failures, last.reports) == ([], [])
        files = read_all(log.path.parent)
        assert_all_well(log, files, ended)
    by_time, by_size_too = (read_all(log.path.parent) for log in logs)
    assert {file.counter for file in by_time} == {0}
    assert len(by_time) >= PERIODS
    assert len(by_size_too) > 2 * PERIODS


def assert_all_well(log: Log, files: Sequence[File], ended: Sequence[int]) -> None:
    assert_counters_are_consecutive(files)
    assert [file for file in files[:-1] if not file.records] == []
    for writer, numbers in numbers_by_writer(files).items():
        acknowledged = int(log.acknowledged[writer])
        # Who was killed right after a write could not acknowledge it any more.
        written = acknowledged if writer in ended or len(numbers) == acknowledged else acknowledged + 1
        assert numbers == list(range(1, written + 1)), f"writer {writer}: {acknowledged} acknowledged"
    written_by = numbers_by_writer(files)
    for writer in range(1, MOST_WRITERS):
        assert writer in written_by or not log.acknowledged[writer]

    begins = [began(file) for file in files[:-1]]
    assert begins == sorted(begins)
    wrong = {}
    for file in files[:-1]:
        times = [logged_at - began(file) for _, _, logged_at in file.records]
        if min(times) < -LATE or max(times) >= 1.0 + LATE:
            wrong[f"{file.date}.{file.counter}"] = (min(times), max(times))
    assert wrong == {}


def began(file: File) -> float:
    """Return when the period began that a backup is named for."""
    return dt.datetime.strptime(f"{file.date}+0000", "%Y-%m-%d_%H-%M-%S%z").timestamp()
