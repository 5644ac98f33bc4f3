"""Somebody moves or removes the log, or the files that its writers share, while they write."""

import functools
import os
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import pytest

from concurrent_log_handler import exclusive, logfile
from concurrent_log_handler.cli.reckoning import Key, read_records, survey
from concurrent_log_handler.state import LEASE, MAGIC
from support.children import Child, Children, until
from support.folder import LOCK, PAGE, assert_every_record_once, contents, numbers_found
from support.records import EVEN, even, line
from support.writers import IDLE, POINTS, Deed, Said, Scribe, WatchedHandler, stop_myself

WITHIN = 1.0
"""Seconds after which a change has been noticed."""
PACE = 0.001
"""Seconds between two records of a writer."""

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


class Log(NamedTuple):
    """What a writer did until it was told to stop."""

    said: Said
    began: Tuple[float, ...]
    """When the call for each record began."""


def log_on(connection: Connection, make: Callable[[], WatchedHandler], writer: int) -> None:
    """Log one record after the other until something comes over the connection."""
    scribe = Scribe(make(), writer)
    began: List[float] = []
    gone = time.monotonic() + IDLE
    while not connection.poll(PACE) and time.monotonic() < gone:
        began.append(time.monotonic())
        scribe.log()
    scribe.handler.close()
    connection.send(Log(scribe.said(), tuple(began)))


def stop(writers: Sequence[Child]) -> List[Log]:
    for writer in writers:
        writer.tell(None)
    logs: List[Log] = [writer.answer() for writer in writers]
    assert [(log.said.failures, log.said.reports) for log in logs] == [((), ())] * len(logs)
    return logs


def keys(*paths: Path) -> Dict[Key, int]:
    """Return how often each record stands in some files."""
    found: Counter[Key] = Counter()
    for path in paths:
        with path.open("rb") as stream:
            found.update(key for _, key in read_records(stream))
    return found


def logged(logs: Sequence[Log], since: float = 0.0) -> Dict[Key, int]:
    """Return the records whose calls began at a time or later."""
    return {
        (log.said.account.writer, number): 1
        for log in logs
        for number, began in enumerate(log.began, 1)
        if began >= since
    }


@both_modes
@pytest.mark.parametrize("max_bytes", [0, 4_000], ids=["one-file", "rotating"])
def test_a_log_that_is_moved_away_is_left_within_a_second(
    live: Path, children: Children, locking: str, max_bytes: int
) -> None:
    make = functools.partial(
        WatchedHandler, str(live), maxBytes=max_bytes, backupCount=100_000, locking=locking
    )
    writers = [children.start(log_on, make, number) for number in range(1, 4)]
    elsewhere = live.parent.with_name("elsewhere.log")
    until(lambda: live.exists() and len({writer for writer, _ in keys(live)}) == 3, "records of all")
    live.rename(elsewhere)
    moved = time.monotonic()
    until(lambda: time.monotonic() > moved + WITHIN + 0.1, "a second")
    logs = stop(writers)

    files = [live.parent / name for name in contents(live.parent)]
    assert keys(elsewhere, *files) == logged(logs)
    late = logged(logs, moved + WITHIN)
    assert len(late) > 10
    assert late.keys() <= keys(*files).keys()


@both_modes
def test_a_log_that_is_removed_takes_no_record_that_comes_a_moment_later(
    live: Path, monkeypatch: pytest.MonkeyPatch, locking: str
) -> None:
    for module in (logfile, exclusive):
        monkeypatch.setattr(module, "SURVEY", 3_600.0)
    scribe = Scribe(WatchedHandler(str(live), locking=locking), 1)
    for number in (1, 2, 3):
        scribe.log()
        assert live.read_bytes() == line(even, 1, number)
        live.unlink()
        time.sleep(2 * LEASE)
    assert scribe.said().faults == ((), ())
    scribe.handler.close()


@both_modes
@pytest.mark.parametrize("max_bytes", [0, 4_000], ids=["one-file", "rotating"])
def test_a_log_that_is_removed_is_begun_anew_within_a_second(
    live: Path, children: Children, locking: str, max_bytes: int
) -> None:
    make = functools.partial(
        WatchedHandler, str(live), maxBytes=max_bytes, backupCount=100_000, locking=locking
    )
    writers = [children.start(log_on, make, number) for number in range(1, 4)]
    until(lambda: live.exists() and len({writer for writer, _ in keys(live)}) == 3, "records of all")
    live.unlink()
    removed = time.monotonic()
    until(lambda: time.monotonic() > removed + WITHIN + 0.1, "a second")
    logs = stop(writers)

    found = keys(*(live.parent / name for name in contents(live.parent)))
    late = logged(logs, removed + WITHIN)
    assert len(late) > 10
    assert found.items() >= late.items()
    # What has gone is what was in the removed file, or in what became of it until that was noticed.
    lost = logged(logs)
    for key in found:
        assert lost.pop(key) == found[key] == 1
    for log in logs:
        numbers = [number for writer, number in sorted(lost) if writer == log.said.account.writer]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


def delete_lock(folder: Path) -> None:
    (folder / LOCK).unlink()


def delete_page(folder: Path) -> None:
    (folder / PAGE).unlink()


def delete_both(folder: Path) -> None:
    delete_lock(folder)
    delete_page(folder)


def empty_page(folder: Path) -> None:
    os.truncate(folder / PAGE, 0)


def cut_page(folder: Path) -> None:
    os.truncate(folder / PAGE, 5)


def fill_page_with_garbage(folder: Path) -> None:
    with (folder / PAGE).open("r+b") as page:  # its length stays, and with it the epoch
        page.write(b"\xa5" * (folder / PAGE).stat().st_size)


def overwrite_page_with_text(folder: Path) -> None:
    (folder / PAGE).write_text("not a page\n" * 1_000)


def helpers_are_well(folder: Path) -> bool:
    try:
        return (folder / LOCK).exists() and (folder / PAGE).read_bytes().startswith(MAGIC)
    except FileNotFoundError:
        return False


@both_modes
@pytest.mark.parametrize(
    "harm",
    [
        delete_lock,
        delete_page,
        delete_both,
        empty_page,
        cut_page,
        fill_page_with_garbage,
        overwrite_page_with_text,
    ],
)
def test_helper_files_may_be_harmed_while_processes_log_and_rotate(
    live: Path, children: Children, locking: str, harm: Callable[[Path], None]
) -> None:
    def rotates(times: int) -> None:
        count = len(survey(live).logs)
        until(lambda: len(survey(live).logs) >= count + times, "rotations")

    make = functools.partial(WatchedHandler, str(live), maxBytes=2_000, backupCount=100_000, locking=locking)
    writers = [children.start(log_on, make, number) for number in (1, 2)]
    rotates(3)
    harm(live.parent)
    rotates(3)
    until(lambda: helpers_are_well(live.parent), "helpers")
    rotates(3)
    logs = stop(writers)
    assert_every_record_once(live, [log.said.account for log in logs], even, 2_000)


FULL = 8
"""Records in a full file, below."""


@pytest.mark.parametrize("rotates", ["the old one", "the new one"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("harm", [delete_page, empty_page, fill_page_with_garbage])
def test_writers_that_hold_different_pages_for_a_moment_lose_nothing(
    live: Path, children: Children, harm: Callable[[Path], None], keep: int, rotates: str
) -> None:
    make = functools.partial(
        WatchedHandler, str(live), maxBytes=FULL * EVEN, backupCount=keep, locking="atomic"
    )
    old = children.writer(make, 1)
    old.log()  # and with it, a look at the paths; the next one is due in half a second
    harm(live.parent)
    new = children.writer(make, 2)
    new.log()
    busy, other = (old, new) if rotates == "the old one" else (new, old)
    busy.log((keep + 1) * FULL)
    last = [busy.log(), other.log()]
    assert [(said.failures, said.reports) for said in last] == [((), ())] * 2
    found = numbers_found(live)
    for said in last if keep else last[1:]:  # with no backups, the last one may have found the file full
        assert found[said.account.writer][-1] == said.account.records


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_rotates_under_a_lock_file_that_is_gone_hurts_nobody(
    live: Path, children: Children, point: str
) -> None:
    def make(**interrupts: Deed) -> WatchedHandler:
        return WatchedHandler(
            str(live), interrupts, maxBytes=FULL * EVEN, backupCount=100_000, locking="atomic"
        )

    one = children.writer(functools.partial(make, **{point: stop_myself}), 1)
    one.log(FULL)
    one.tell(1)
    one.stopped()
    delete_lock(live.parent)
    other = children.writer(make, 2)
    other.log(3 * FULL)
    one.resume()
    one.said()
    other.log(FULL)
    said = [one.end(), other.end()]
    assert [each.failures for each in said] == [(), ()]
    # The one that had the lock may give its rotation up.
    complaints = [report for each in said for report in each.reports]
    assert complaints == [report for report in said[0].reports if "lock file" in report]
    assert_every_record_once(live, [each.account for each in said], even, FULL * EVEN)
