"""Processes are killed and frozen at random while their log rotates and is compressed: each record is there once."""

import functools
import gzip
import os
import random
import re
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from concurrent_log_handler.cli.reckoning import read_records
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE
from concurrent_log_handler.state import PAGE_SIZE
from support.children import Child, Children, until
from support.clock import Numbers
from support.folder import HELPERS, LIVE, PAGE
from support.records import even
from support.writers import Scribe, Watched, WatchedHandler, WatchedTimedHandler

WRITERS = 5
MAX_BYTES = 60_000
SECONDS = 6.0
SEED = 20261122
MOST_WRITERS = 4_000
LIMIT = 1_000
MANY = 100_000
BACKUP = re.compile(re.escape(LIVE) + r"\.(?:([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.([0-9]+))?|([0-9]+))\.gz")

Make = Callable[[Path], Watched]


def by_size(live: Path) -> Watched:
    return WatchedHandler(str(live), maxBytes=MAX_BYTES, backupCount=MANY, use_gzip=True)


def by_time(live: Path) -> Watched:
    return WatchedTimedHandler(str(live), when="D", utc=True, maxBytes=MAX_BYTES, use_gzip=True)


def log_until_told(
    connection: Connection, make: Callable[[], Watched], written: Numbers, number: int
) -> None:
    """Log in bursts, and count what has been written; end when there is a message, or say why not.

    One burst at least: who has logged nothing has nothing to do with what others have left.
    """
    scribe = Scribe(make(), number)
    is_told = False
    while not is_told:
        for _ in range(20):
            said = scribe.log()
            if said.failures or said.reports:
                connection.send(said)
                return
            written[number] = scribe.logged
        is_told = connection.poll(0.002)
    scribe.handler.close()
    connection.send(scribe.said())


class Fleet:
    """Writers, each with a number of its own, of which some are frozen for a while and some die."""

    def __init__(self, make: Callable[[], Watched]) -> None:
        self._make = make
        self.written: Numbers = Numbers(MOST_WRITERS)
        self._running: Dict[int, Child] = {}
        self._frozen: Dict[int, float] = {}
        self._started = 0
        for _ in range(WRITERS):
            self._start_one()

    def _start_one(self) -> None:
        self._started += 1
        child = Child("fork", log_until_told, self._make, self.written, self._started)
        self._running[self._started] = child

    def trouble(self, dice: random.Random) -> None:
        """Kill one or freeze one, and let those go on that have been frozen for long enough."""
        number = dice.choice(sorted(self._running))
        if dice.random() < 0.5:
            self._kill(number)
            self._start_one()
        elif number not in self._frozen:
            os.kill(self._running[number].pid, signal.SIGSTOP)
            self._frozen[number] = time.monotonic() + dice.choice([0.01, 0.1, 1.0])
        for each, end in list(self._frozen.items()):
            if time.monotonic() >= end:
                self._let_go_on(each)

    def leave_one(self) -> None:
        """Let one come to its ordinary end, after all the others have been killed."""
        *others, survivor = sorted(self._running)
        for number in others:
            self._kill(number)
        self._let_go_on(survivor)
        child = self._running[survivor]
        child.tell(None)
        said = child.answer()
        assert (said.failures, said.reports) == ((), ())
        assert child.ended() == 0

    def kill(self) -> None:
        for child in self._running.values():
            child.kill()

    def _kill(self, number: int) -> None:
        child = self._running.pop(number)
        self._frozen.pop(number, None)
        os.kill(child.pid, signal.SIGKILL)
        assert child.ended() == -signal.SIGKILL, child.rest()
        child.kill()

    def _let_go_on(self, number: int) -> None:
        if self._frozen.pop(number, None) is not None:
            os.kill(self._running[number].pid, signal.SIGCONT)


def age(name: str) -> Tuple[str, int]:
    """Return what sorts the names of backups by their age, the oldest first; fail for any other name."""
    match = BACKUP.fullmatch(name)
    assert match, f"{name} is a stray file, or not compressed"
    date, counter, number = match.groups()
    return date or "", int(counter or 0) - int(number or 0)


def numbers_by_writer(folder: Path) -> Dict[int, List[int]]:
    """Read all records, from the oldest file to the live one."""
    found: Dict[int, List[int]] = {}
    backups = sorted({each.name for each in folder.iterdir()} - HELPERS - {LIVE}, key=age)
    for name in [*backups, LIVE]:
        data = (folder / name).read_bytes()
        written = gzip.decompress(data) if name != LIVE else data
        for line, (writer, number) in read_records(written.splitlines(keepends=True)):
            assert writer, f"{name}, line {line} is torn"
            found.setdefault(writer, []).append(number)
    return found


@pytest.mark.parametrize("make", [by_size, by_time])
def test_each_record_is_there_once_and_every_old_file_is_compressed(live: Path, make: Make) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secret
    fleet = Fleet(functools.partial(make, live))
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(dice.random() * 0.1)
            fleet.trouble(dice)
        fleet.leave_one()
    finally:
        fleet.kill()
    found = numbers_by_writer(live.parent)
    assert len((live.parent / PAGE).read_bytes()) % 2 == PAGE_SIZE % 2
    assert len(list(live.parent.iterdir())) > 10  # far more, if the machine has nothing else to do
    for writer, numbers in sorted(found.items()):
        written = int(fleet.written[writer])
        # Who was killed right after a write could not count it any more.
        assert numbers == list(range(1, max(written, len(numbers)) + 1)), f"writer {writer} wrote {written}"
        assert len(numbers) - written in (0, 1), f"writer {writer} wrote {written}"
    assert {number for number in range(MOST_WRITERS) if fleet.written[number]} <= set(found)


def test_records_are_as_long_as_no_kill_can_cut_in_two() -> None:
    """A kill may come between two pages of a write, so records must not lie across a multiple of 4,096 bytes."""
    assert 4096 % len(even(1, 1) + "\n") == 0


def now_and_then(writer: int, number: int) -> str:
    """Return a text after a while: who writes all the time notices by his writes what others do."""
    time.sleep(0.0002)
    return even(writer, number)


def test_nothing_is_lost_if_lock_and_page_are_deleted_and_the_log_is_compressed_then(
    live: Path, children: Children
) -> None:
    """Whoever still has the old page must have seen the new one before a file that he writes to is consumed."""
    writer = children.writer(functools.partial(WatchedHandler, str(live)), 1, now_and_then)
    writer.log()
    writer.tell(3_000)
    until(lambda: live.stat().st_size > LIMIT, "a full file")  # he is in the middle of it
    for name in HELPERS:
        live.with_name(name).unlink()
    other = WatchedHandler(str(live), maxBytes=LIMIT, backupCount=MANY, use_gzip=True)
    Scribe(other, 2).log()
    assert other.wait_for_upkeep(10.0) is True
    assert live.with_name(f"{LIVE}.1.gz").exists()
    said = writer.said()
    assert (said.failures, said.reports) == ((), ())
    writer.end()
    other.close()
    assert numbers_by_writer(live.parent) == {1: list(range(1, 3_002)), 2: [1]}


def test_a_shift_in_several_helpings_does_not_part_the_two_files_of_a_backup(live: Path) -> None:
    count = 2 * SHIFTS_AT_ONCE
    for middle in range(count - SHIFTS_AT_ONCE - 1, count - SHIFTS_AT_ONCE + 2):
        for each in live.parent.iterdir():
            each.unlink()
        for number in range(1, count + 1):
            live.with_name(f"{LIVE}.{number}").write_text(f"backup {number}\n")
        live.with_name(f"{LIVE}.{middle}.gz").write_bytes(gzip.compress(b"something else\n"))
        live.write_bytes(bytes(1_000))
        handler = WatchedHandler(str(live), maxBytes=1_000, backupCount=MANY)
        scribe = Scribe(handler, 1)
        until(lambda scribe=scribe: scribe.log().rotations, "rotation")  # type: ignore[misc]
        handler.close()
        twins = {each.name for each in live.parent.iterdir() if each.name.endswith(".gz")}
        assert twins == {f"{LIVE}.{middle + 1}.gz"}
        assert live.with_name(f"{LIVE}.{middle + 1}").read_text() == f"backup {middle}\n"
