"""What both handlers do beside rotating: old files expire and are handed on, files have a header, a link leads to the log."""

import datetime as dt
import errno
import functools
import logging
import os
import threading
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from concurrent_log_handler import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    base,
    control,
    state,
)
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.state import SURVEY
from support.children import Children, until
from support.clock import HOUR
from support.folder import HELPERS, LIVE, Files, dated, plant
from support.records import EVEN, even, line, lines
from support.system import use_interruptible_system
from support.writers import (
    POINTS,
    Scribe,
    Watched,
    WatchedHandler,
    WatchedTimedHandler,
    kill_myself,
    stop_myself,
)

FULL = 4
"""Records in a file that is full."""
MANY = 1_000
OLD_SIZE = 100
ENOUGH = 10_000
"""Bytes that the file system of a test has."""
NEIGHBOURS = dict.fromkeys(
    (
        "app.log.old",
        "app.log.01",
        "app.log.err.1",
        "app.log.2026-13-45_10",
        "app.log.2026-11-22_10.bak",
        "app2.log.1",
        "app2.log.2026-11-22_10",
    ),
    b"a neighbour\n",
)

Make = Callable[..., Watched]


def by_size(live: Path, **options: Any) -> WatchedHandler:
    options.setdefault("maxBytes", FULL * EVEN)
    options.setdefault("backupCount", MANY)
    return WatchedHandler(str(live), **options)


def by_time(live: Path, **options: Any) -> WatchedTimedHandler:
    """Make the timed handler; most tests rotate it by size, which needs no clock."""
    options.setdefault("maxBytes", FULL * EVEN)
    return WatchedTimedHandler(str(live), when="H", utc=True, **options)


with_both_handlers = pytest.mark.parametrize("make", [by_size, by_time])
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def old_name(make: Make, rank: int) -> str:
    """Return the name of an old file, 1 being the youngest."""
    return f"{LIVE}.{rank}" if make is by_size else f"{LIVE}.{2025 - rank}-06-15_10"


def old_content(rank: int) -> bytes:
    return f"old {rank}".encode().ljust(OLD_SIZE - 1, b".") + b"\n"


def plant_old_files(live: Path, make: Make, count: int) -> None:
    """Make old files, each some hours old, as many as its rank."""
    for rank in range(1, count + 1):
        path = live.with_name(old_name(make, rank))
        path.write_bytes(old_content(rank))
        at = time.time() - rank * HOUR
        os.utime(path, (at, at))


def found(live: Path) -> Files:
    """Return all in the folder of a log but the helpers."""
    return {each.name: each.read_bytes() for each in live.parent.iterdir() if each.name not in HELPERS}


def backups_left(live: Path) -> List[bytes]:
    """Return what the backups hold, in no order; names are for other tests."""
    return sorted(content for name, content in found(live).items() if name not in {LIVE, *NEIGHBOURS})


def log_well(scribe: Scribe, count: int = 1) -> None:
    said = scribe.log(count)
    assert (said.failures, said.reports) == ((), ())


def close_well(handler: Watched) -> None:
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])


# ------------------------------------------------------------------------ retention


class SmallDisk(Posix):
    """A file system with little space, of which some files cannot be deleted."""

    def __init__(self) -> None:
        self.deleted: List[bytes] = []
        self.kept_by_force: Tuple[bytes, ...] = ()

    def free_bytes(self, path: str) -> int:
        return ENOUGH - sum(
            each.stat().st_size for each in Path(path).glob(LIVE + ".*") if each.name not in NEIGHBOURS
        )

    def unlink(self, path: str) -> None:
        content = Path(path).read_bytes()
        if content in self.kept_by_force:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        super().unlink(path)
        self.deleted.append(content)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    system = SmallDisk()
    monkeypatch.setattr(base, "SYSTEM", system)
    return system


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, 5),
        ({"max_age": 9_000}, 2),
        ({"max_age": 9_000.0}, 2),
        ({"max_age": dt.timedelta(hours=2.5)}, 2),
        ({"max_total_bytes": EVEN + 2 * OLD_SIZE}, 2),
        ({"max_total_bytes": EVEN + 2 * OLD_SIZE - 1}, 1),
        ({"max_total_bytes": 0}, -1),
        ({"min_free_bytes": ENOUGH - EVEN - 2 * OLD_SIZE}, 2),
        ({"min_free_bytes": ENOUGH - EVEN - 2 * OLD_SIZE + 1}, 1),
        ({"min_free_bytes": 2**60}, -1),
        ({"max_age": 9_000, "max_total_bytes": ENOUGH, "min_free_bytes": 0}, 2),
        ({"max_age": 9_000, "max_total_bytes": EVEN + OLD_SIZE}, 1),
        ({"max_age": 9_000, "min_free_bytes": ENOUGH - EVEN - OLD_SIZE}, 1),
        ({"max_age": 9_000, "backupCount": 4}, 2),
        ({"max_age": 16_000, "backupCount": 2}, 1),
        ({"max_total_bytes": ENOUGH, "backupCount": 4}, 3),
        ({"min_free_bytes": 1, "backupCount": 1}, 0),
    ],
)
@pytest.mark.usefixtures("disk")
def test_whatever_says_delete_wins(
    live: Path, make: Make, locking: str, limits: Dict[str, Any], left: int
) -> None:
    plant_old_files(live, make, 5)
    plant(live.parent, NEIGHBOURS)
    handler = make(live, locking=locking, upkeep="inline", **limits)
    log_well(Scribe(handler, 1))
    handler.doRollover()
    close_well(handler)
    fresh = [line(even, 1, 1)] if left >= 0 else []
    assert backups_left(live) == sorted(fresh + [old_content(rank) for rank in range(1, left + 1)])
    assert {name: found(live)[name] for name in NEIGHBOURS} == NEIGHBOURS


@with_both_handlers
@in_both_modes
def test_it_is_done_after_a_rotation_that_nobody_asked_for_too(live: Path, make: Make, locking: str) -> None:
    plant_old_files(live, make, 5)
    handler = make(live, locking=locking, max_age=9_000)
    log_well(Scribe(handler, 1), FULL + 1)
    close_well(handler)
    assert backups_left(live) == sorted([lines(even, 1, range(1, FULL + 1)), old_content(1), old_content(2)])


@with_both_handlers
@in_both_modes
def test_the_live_file_and_neighbours_are_never_deleted(live: Path, make: Make, locking: str) -> None:
    plant_old_files(live, make, 2)
    plant(live.parent, NEIGHBOURS)
    link = live.with_name(old_name(make, 2))
    link.unlink()
    link.symlink_to(LIVE)
    directory = live.with_name(old_name(make, 3))
    directory.mkdir()
    handler = make(live, locking=locking, max_age=1, max_total_bytes=0, min_free_bytes=2**60)
    scribe = Scribe(handler, 1)
    for number in range(1, 4):
        log_well(scribe)
        for path in (live, *map(live.with_name, NEIGHBOURS)):
            os.utime(path, (0, 0))
        assert live.read_bytes() == line(even, 1, number)
        handler.doRollover()
    log_well(scribe)
    close_well(handler)
    links = [each for each in live.parent.iterdir() if each.is_symlink()]
    assert [each.resolve() for each in links] == [live]
    links[0].unlink()
    directory.rmdir()
    assert found(live) == {**NEIGHBOURS, LIVE: line(even, 1, 4)}


def test_a_link_to_the_live_file_that_counts_as_a_backup_expires_alone(live: Path) -> None:
    live.with_name(f"{LIVE}.1").symlink_to(LIVE)
    scribe = Scribe(by_size(live, backupCount=1), 1)
    log_well(scribe)
    scribe.handler.doRollover()
    log_well(scribe)
    close_well(scribe.handler)
    assert found(live) == {f"{LIVE}.1": line(even, 1, 1), LIVE: line(even, 1, 2)}


def plain_by_size(live: Path, **options: Any) -> logging.Handler:
    return ConcurrentRotatingFileHandler(str(live), backupCount=MANY, **options)


def plain_by_time(live: Path, **options: Any) -> logging.Handler:
    return ConcurrentTimedRotatingFileHandler(str(live), when="H", utc=True, **options)


def handle(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, __file__, 0, text, (), None))


@pytest.mark.parametrize(
    ("plain", "make"), [(plain_by_size, by_size), (plain_by_time, by_time)], ids=["by_size", "by_time"]
)
@pytest.mark.parametrize("rank", [4, 5])
def test_what_cannot_be_deleted_is_reported_once_and_the_others_go(
    live: Path,
    disk: SmallDisk,
    capsys: pytest.CaptureFixture[str],
    plain: Callable[..., Any],
    make: Make,
    rank: int,
) -> None:
    plant_old_files(live, make, 5)
    disk.kept_by_force = (old_content(rank),)
    handler = plain(live, max_total_bytes=3 * OLD_SIZE)
    for turn in range(1, 5):
        handle(handler, "x" * (OLD_SIZE - 1))
        handler.doRollover()
        standing = backups_left(live)
        assert (len(standing), old_content(rank) in standing) == (4, True), turn
    handler.close()
    reports = capsys.readouterr().err.splitlines()
    assert [report.count("cannot delete an old file") for report in reports] == [1]


def unlink_noting(notes: Path, unlink: Callable[[str], None], path: str) -> None:
    """Delete a file, and write down what was in a backup."""
    content = Path(path).read_bytes()
    unlink(path)
    if Path(path).name.startswith(f"{LIVE}.") and content:
        note(notes, content.split(b"\n")[0].decode())


def rotate_often(connection: Connection, make: Make, live: Path, writer: int, notes: Path) -> None:
    system = Posix()
    vars(system)["unlink"] = functools.partial(unlink_noting, notes, system.unlink)
    vars(base)["SYSTEM"] = system
    scribe = Scribe(make(live, max_total_bytes=FULL * EVEN), writer)
    connection.recv()
    for _ in range(20):
        scribe.log()
        scribe.handler.doRollover()
    scribe.handler.close()
    connection.send(scribe.said())


@with_both_handlers
@in_both_modes
def test_of_two_processes_one_deletes_each_old_file(
    live: Path, tmp_path: Path, children: Children, make: Make, locking: str
) -> None:
    plant_old_files(live, make, 50)
    notes = tmp_path / "deleted"
    made = functools.partial(make, locking=locking, maxBytes=0)
    both = [children.start(rotate_often, made, live, number, notes) for number in (1, 2)]
    for child in both:
        child.tell(None)
    assert [child.answer().faults for child in both] == [((), ())] * 2
    deleted = noted(notes)
    assert len(set(deleted)) == len(deleted)
    assert set(deleted) >= {old_content(rank).decode().rstrip() for rank in range(1, 51)}
    assert sum(map(len, backups_left(live))) <= FULL * EVEN
    assert not {each.split(b"\n")[0].decode() for each in backups_left(live) if each} & set(deleted)


# ------------------------------------------------------------------------ on_rotate


def note(notes: Path, text: str) -> None:
    """Add a line, in one write, to what all processes have noted."""
    with notes.open("a") as stream:
        stream.write(text.rstrip("\n") + "\n")


def noted(notes: Path) -> List[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def first_record(path: str) -> str:
    """Return the first line of a backup, which tells it from all others, whatever its number has become."""
    return Path(path).read_bytes().split(b"\n")[0].decode()


def note_backup(notes: Path, path: str) -> None:
    note(notes, first_record(path))


def note_name(notes: Path, path: str) -> None:
    note(notes, f"{Path(path).name} {'is there' if Path(path).exists() else 'is not there'}")


def note_call(notes: Path, path: str) -> None:
    note(notes, "called with a path of " + str(Path(path).parent))


@in_both_modes
def test_each_backup_is_handed_on_once_by_one_of_four_processes(
    live: Path, tmp_path: Path, children: Children, locking: str
) -> None:
    notes = noted_in_turns(tmp_path, children, functools.partial(by_time, live, locking=locking), note_name)
    assert sorted(notes) == sorted(f"{name} is there" for name in found(live) if name != LIVE)


@in_both_modes
def test_as_many_numbered_backups_are_handed_on_as_there_are(
    live: Path, tmp_path: Path, children: Children, locking: str
) -> None:
    # Not which: another rotation may give a backup another number before its path has been looked at.
    notes = noted_in_turns(tmp_path, children, functools.partial(by_size, live, locking=locking), note_call)
    assert notes == [f"called with a path of {live.parent}"] * (len(found(live)) - 1)


def noted_in_turns(
    folder: Path, children: Children, make: Callable[..., Watched], note_it: Callable[[Path, str], None]
) -> List[str]:
    """Have backups noted as they are handed on while four processes log; return the notes, more than a few."""
    log_in_turns(children, functools.partial(make, on_rotate=functools.partial(note_it, folder / "notes")))
    notes = noted(folder / "notes")
    assert len(notes) > 3
    return notes


def log_in_turns(children: Children, make: Callable[[], Watched]) -> None:
    writers = [children.writer(make, number) for number in range(1, 5)]
    for _ in range(10):
        for writer in writers:
            writer.tell(2 * FULL)
        assert [writer.said().faults for writer in writers] == [((), ())] * 4
    assert [writer.end().faults for writer in writers] == [((), ())] * 4


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize("point", POINTS[POINTS.index("set_aside") :])
def test_a_process_that_is_killed_before_it_hands_on_leaves_that_to_others(
    live: Path, tmp_path: Path, children: Children, make: Make, locking: str, point: str
) -> None:
    notes = tmp_path / "notes"
    options: Dict[str, Any] = {"locking": locking, "on_rotate": functools.partial(note_backup, notes)}
    dying = children.writer(functools.partial(make, live, interrupts={point: kill_myself}, **options), 1)
    dying.log(FULL)
    dying.tell(1)
    assert dying.ended() == -9
    heir = children.writer(functools.partial(make, live, upkeep="inline", **options), 2)
    heir.log(FULL + 1)
    assert heir.end().faults == ((), ())
    assert noted(notes) == [even(1, 1), even(2, 1)]


@with_both_handlers
def test_a_callback_that_raises_is_reported_and_stops_nothing(live: Path, make: Make) -> None:
    called: List[str] = []

    def on_rotate(path: str) -> None:
        called.append(first_record(path))
        raise RuntimeError(f"call {len(called)}")

    plant_old_files(live, make, 5)
    handler = make(live, on_rotate=on_rotate, max_age=9_000)
    scribe = Scribe(handler, 1)
    for _ in range(3):
        scribe.log()
        handler.doRollover()
    handler.close()
    assert called == [even(1, number) for number in (1, 2, 3)]
    assert handler.failures == []
    assert handler.reports == [f"on_rotate failed: call {number}" for number in (1, 2, 3)]
    rotated = [line(even, 1, number) for number in (1, 2, 3)]
    assert backups_left(live) == sorted([*rotated, old_content(1), old_content(2)])


def note_and_hang(notes: Path, path: str) -> None:
    note_backup(notes, path)
    threading.Event().wait()


def hang_and_close(connection: Connection, make: Callable[[], Watched], notes: Path) -> None:
    """Log until a callback hangs, go on logging, and close."""
    vars(control)["PATIENCE"] = 0.3
    scribe = Scribe(make(), 1)
    scribe.log(FULL + 1)
    until(lambda: noted(notes), "handed on to the one that hangs")
    connection.send(scribe.log(FULL))
    connection.recv()
    began = time.monotonic()
    scribe.handler.close()
    connection.send(time.monotonic() - began)
    connection.recv()


@with_both_handlers
@in_both_modes
def test_a_callback_that_hangs_stops_no_other_process(
    live: Path,
    tmp_path: Path,
    children: Children,
    make: Make,
    locking: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "LONGEST_IN_HAND", 0.0)
    assert control.PATIENCE <= 5.0
    plant_old_files(live, make, 5)
    notes = tmp_path / "notes"
    made = functools.partial(make, live, locking=locking, max_age=9_000)
    on_rotate = functools.partial(note_and_hang, notes)
    hanging = children.start(hang_and_close, functools.partial(made, on_rotate=on_rotate), notes)
    assert hanging.answer()[2:5] == (2, (), ())
    peer = made(on_rotate=functools.partial(note_backup, notes))
    scribe = Scribe(peer, 2)
    for _ in range(2):
        log_well(scribe)
        assert peer.wait_for_upkeep(10)  # or a number could be another file's before the callback reads it
        peer.doRollover()
        assert peer.wait_for_upkeep(10)
    close_well(peer)
    # What the hanging one has rotated since is handed on by its peer.
    assert noted(notes) == [even(1, 1), even(1, FULL + 1), even(1, 2 * FULL + 1), even(2, 2)]
    assert [old_content(rank) in backups_left(live) for rank in range(1, 6)] == [True] * 2 + [False] * 3
    hanging.tell(None)
    assert hanging.answer() < 3.0


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize("asked_for", [False, True])
def test_a_callback_may_log_to_its_own_handler(live: Path, make: Make, locking: str, asked_for: bool) -> None:
    called: List[str] = []

    def on_rotate(path: str) -> None:
        called.append(first_record(path))
        scribe.log()

    handler = make(live, locking=locking, on_rotate=on_rotate)
    scribe = Scribe(handler, 1)
    if asked_for:
        scribe.log(2)
        handler.doRollover()
    else:
        scribe.log(FULL + 1)
    close_well(handler)
    assert called == [even(1, 1)]
    first = 2 if asked_for else FULL
    assert backups_left(live) == [lines(even, 1, range(1, first + 1))]
    written = sorted(live.read_bytes().splitlines(keepends=True))
    assert written == [line(even, 1, number) for number in range(first + 1, scribe.logged + 1)]


@with_both_handlers
@in_both_modes
def test_a_rotation_that_is_asked_for_has_handed_on_when_it_returns(
    live: Path, make: Make, locking: str
) -> None:
    called: List[Tuple[str, bytes]] = []
    handler = make(
        live, locking=locking, on_rotate=lambda path: called.append((path, Path(path).read_bytes()))
    )
    scribe = Scribe(handler, 1)
    for turn in (1, 2, 3):
        log_well(scribe)
        handler.doRollover()
        assert len(called) == turn
        path, content = called[-1]
        assert (Path(path).parent, content) == (live.parent, line(even, 1, turn))
    close_well(handler)
    assert len(called) == 3


@in_both_modes
def test_what_is_not_kept_is_not_handed_on(live: Path, locking: str) -> None:
    called: List[str] = []
    handler = by_size(live, locking=locking, backupCount=0, on_rotate=called.append)
    log_well(Scribe(handler, 1), FULL + 1)
    handler.doRollover()
    close_well(handler)
    assert (called, found(live)) == ([], {LIVE: b""})


@in_both_modes
def test_what_is_rotated_because_it_is_overdue_is_handed_on(live: Path, locking: str) -> None:
    first = by_time(live, locking=locking)
    log_well(Scribe(first, 1))
    close_well(first)
    os.utime(live, (time.time() - 2 * HOUR,) * 2)
    called: List[str] = []
    handler = by_time(live, locking=locking, on_rotate=called.append)
    close_well(handler)
    assert called == [str(live.parent / name) for name in found(live) if name != LIVE] != []


def test_none_is_forgotten_while_a_callback_takes_long(live: Path) -> None:
    called: List[str] = []
    go_on = threading.Event()

    def on_rotate(path: str) -> None:
        called.append(path)
        go_on.wait(30.0)

    handler = by_time(live, on_rotate=on_rotate)
    log_well(Scribe(handler, 1), 100 * FULL + 1)
    go_on.set()
    close_well(handler)
    assert sorted(called) == sorted(str(live.parent / name) for name in found(live) if name != LIVE)
    # Some less than 100: a record that finds the lock taken by the upkeep leaves the rotation to the next one.
    assert len(called) > 90


def test_none_is_forgotten_while_a_peer_is_about_to_rename_many(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "LONGEST_IN_HAND", 0.0)  # or it would wait
    called: List[str] = []

    def on_rotate(path: str) -> None:
        called.append(first_record(path))
        if len(called) == 1:
            peer.log(FULL + 1)  # and finds it full, and begins to rename the oldest ones
            assert not live.with_name(f"{LIVE}.2").exists()

    plant_old_files(live, by_size, 30)
    handler, suspended = (by_size(live, on_rotate=on_rotate) for _ in range(2))
    peer = Scribe(suspended, 1)
    vars(suspended._log.background._own)["do"] = lambda *_, **__: True  # it would go on in its thread
    peer.log(2 * FULL + 1)
    handler.doRollover()
    peer.log()
    handler.doRollover()
    close_well(handler)
    close_well(suspended)
    # The second one was beyond a gap in the row when its turn came.
    assert called[:3] == [even(1, 1), even(1, 1 + FULL), even(1, 1 + 2 * FULL)]


def fork_in_a_callback(connection: Connection, make: Make, live: Path, notes: Path, locking: str) -> None:
    parent = os.getpid()
    inside, go_on = threading.Event(), threading.Event()

    def on_rotate(path: str) -> None:
        note_backup(notes, path)
        if os.getpid() == parent:
            inside.set()
            go_on.wait(30.0)

    handler = make(live, locking=locking, on_rotate=on_rotate)
    scribe = Scribe(handler, 1)
    scribe.log(FULL + 1)
    inside.wait(30.0)
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads; that it works is what is tested.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        pid = os.fork()
    if not pid:
        child = Scribe(handler, 2)
        child.log(FULL)
        handler.doRollover()
        child.log(FULL + 1)
        handler.close()
        connection.send(handler.failures + handler.reports)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    connection.send(status)
    go_on.set()
    scribe.log(FULL)
    handler.close()
    connection.send(scribe.said())


@with_both_handlers
@in_both_modes
def test_a_process_may_fork_while_a_callback_runs(
    live: Path,
    tmp_path: Path,
    children: Children,
    make: Make,
    locking: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "LONGEST_IN_HAND", 0.0)  # the child would wait for the callback
    notes = tmp_path / "notes"
    forking = children.start(fork_in_a_callback, make, live, notes, locking)
    assert forking.answer() == []
    assert forking.answer() == 0
    assert forking.answer().faults == ((), ())
    firsts = [content.split(b"\n")[0].decode() for content in backups_left(live)]
    assert sorted(noted(notes)) == sorted(firsts)
    written = sorted(b"".join(found(live).values()).splitlines(keepends=True))
    assert written == [line(even, writer, number) for writer in (1, 2) for number in range(1, 2 * FULL + 2)]


# ------------------------------------------------------------------------ header

HEADER = "# time level message"
HEAD = HEADER.encode() + b"\n"


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize("header", [HEADER, lambda: HEADER], ids=["text", "callable"])
def test_each_file_of_four_processes_begins_with_one_header(
    live: Path, children: Children, make: Make, locking: str, header: object
) -> None:
    log_in_turns(children, functools.partial(make, live, locking=locking, header=header))
    files = found(live)
    assert [name for name, content in files.items() if content.count(HEAD) != 1] == []
    assert [name for name, content in files.items() if not content.startswith(HEAD)] == []
    written = sorted(b"".join(files.values()).replace(HEAD, b"").splitlines(keepends=True))
    assert written == [line(even, writer, number) for writer in range(1, 5) for number in range(1, 81)]


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize("point", POINTS)
def test_a_file_has_its_header_whoever_has_died_over_it(
    live: Path, children: Children, make: Make, locking: str, point: str
) -> None:
    made = functools.partial(make, live, locking=locking, header=HEADER, maxBytes=len(HEAD) + FULL * EVEN)
    dying = children.writer(functools.partial(made, interrupts={point: kill_myself}), 1)
    dying.log(FULL)
    dying.tell(1)
    assert dying.ended() == -9
    heir = Scribe(made(), 2)
    log_well(heir, FULL + 1)
    close_well(heir.handler)
    records = [
        lines(even, 1, range(1, FULL + 1)),
        lines(even, 2, range(1, FULL + 1)),
        line(even, 2, FULL + 1),
    ]
    assert sorted(found(live).values()) == sorted(HEAD + each for each in records)


@in_both_modes
@pytest.mark.parametrize("head", [{"header": HEADER}, {"encoding": "utf-16"}], ids=["header", "mark"])
def test_a_file_with_nothing_but_its_head_is_kept_for_the_next_period(
    live: Path, locking: str, head: Dict[str, Any]
) -> None:
    start = time.time() // HOUR * HOUR - 9 * HOUR
    for hours in range(4):  # a job that runs once in a while, and logs the first time only
        handler = by_time(live, locking=locking, clock=lambda now=start + hours * HOUR: now, **head)
        if not hours:
            log_well(Scribe(handler, 1))
        close_well(handler)
    assert set(found(live)) == {LIVE, dated(start)}


# ------------------------------------------------------------------------ current_link

LINK = "app-current.log"


@with_both_handlers
@in_both_modes
def test_the_link_leads_to_the_live_file(live: Path, make: Make, locking: str) -> None:
    link = live.with_name(LINK)
    handler = make(live, locking=locking, current_link=LINK)
    scribe = Scribe(handler, 1)
    for number in range(1, 2 * FULL + 2):
        log_well(scribe)
        assert os.readlink(str(link)) == LIVE
        assert link.read_bytes().endswith(line(even, 1, number))
    handler.doRollover()
    assert (os.readlink(str(link)), link.read_bytes()) == (LIVE, b"")
    close_well(handler)
    assert link.is_symlink()


@with_both_handlers
@pytest.mark.parametrize(
    "before", [None, "app-21.log", "nowhere/at-all"], ids=["none", "other-log", "dangling"]
)
def test_the_link_may_stand_elsewhere_and_have_led_elsewhere(
    live: Path, tmp_path: Path, make: Make, before: Optional[str]
) -> None:
    link = tmp_path / "links" / LINK
    link.parent.mkdir()
    (link.parent / "app-21.log").write_bytes(b"another log's\n")
    if before is not None:
        link.symlink_to(before)
    handler = make(live, current_link=link)
    log_well(Scribe(handler, 1))
    close_well(handler)
    assert os.readlink(str(link)) == f"../logs/{LIVE}"
    assert link.read_bytes() == line(even, 1, 1)
    assert sorted(each.name for each in link.parent.iterdir()) == sorted([LINK, "app-21.log"])
    assert (link.parent / "app-21.log").read_bytes() == b"another log's\n"


@with_both_handlers
@in_both_modes
def test_a_link_that_was_deleted_is_made_again(live: Path, make: Make, locking: str) -> None:
    link = live.with_name(LINK)
    scribe = Scribe(make(live, locking=locking, current_link=LINK), 1)
    log_well(scribe)
    link.unlink()
    time.sleep(SURVEY + 0.1)
    log_well(scribe)
    assert os.readlink(str(link)) == LIVE
    close_well(scribe.handler)


@pytest.mark.parametrize("plain", [plain_by_size, plain_by_time])
@in_both_modes
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_link_is_not_replaced_and_reported_once(
    live: Path, capsys: pytest.CaptureFixture[str], plain: Callable[..., Any], locking: str, kind: str
) -> None:
    link = live.with_name(LINK)
    link.write_bytes(b"somebody's\n") if kind == "file" else link.mkdir()
    handler = plain(live, locking=locking, current_link=LINK)
    handle(handler, "one")
    time.sleep(SURVEY + 0.1)
    handle(handler, "two")
    handler.doRollover()
    handle(handler, "three")
    handler.close()
    handle(handler, "four")
    handler.close()
    assert link.is_dir() if kind == "directory" else link.read_bytes() == b"somebody's\n"
    reports = capsys.readouterr().err.splitlines()
    assert [report.count("cannot make the link to the live file") for report in reports] == [1]
    link.rmdir() if kind == "directory" else link.unlink()
    assert sorted(found(live).values()) == [b"one\ntwo\n", b"three\nfour\n"]


def log_after(
    connection: Connection, make: Callable[[], Watched], deed: Callable[[], None], calls: int
) -> None:
    """Make a handler and log a record, and do something after some system calls of that."""
    system = use_interruptible_system()
    system.interrupt(deed, calls)
    scribe = Scribe(make(), 1)
    connection.send(scribe.log())


class LinkedLog:
    """A log, not yet made, and a link beside it or elsewhere, which still leads to another one."""

    def __init__(self, folder: Path, make: Make, beside: bool) -> None:
        self._folders = logs, links = folder / "logs", folder / "links"
        for each in self._folders:
            each.mkdir(parents=True)
        self._link = (logs if beside else links) / LINK
        self._link.symlink_to("app-21.log")
        self.make = functools.partial(make, logs / LIVE, current_link=self._link)
        target = LIVE if beside else f"../logs/{LIVE}"
        self.all_well = {LINK: target, **dict.fromkeys([LIVE, *HELPERS], "a file")}

    def target(self) -> str:
        """Return where the link leads."""
        return os.readlink(str(self._link))

    def everything(self) -> Dict[str, str]:
        """Return what is in both folders, and where links lead; what is `all_well` when all is."""
        return {
            each.name: os.readlink(str(each)) if each.is_symlink() else "a file"
            for folder in self._folders
            for each in folder.iterdir()
        }


@with_both_handlers
@pytest.mark.parametrize("beside", [True, False], ids=["beside-the-log", "elsewhere"])
def test_a_process_that_is_killed_while_it_sets_the_link_leaves_nothing(
    tmp_path: Path, children: Children, make: Make, beside: bool
) -> None:
    strays = {}
    code = -9
    calls = -1
    while code:
        calls += 1
        log = LinkedLog(tmp_path / str(calls), make, beside)
        code = children.start(log_after, log.make, kill_myself, calls).ended()
        assert code in (0, -9)
        heir = Scribe(log.make(), 2)
        log_well(heir)
        close_well(heir.handler)
        if log.everything() != log.all_well:
            strays[calls] = sorted(log.everything().keys() - log.all_well.keys())
    assert strays == {}
    assert calls > 20


@with_both_handlers
@pytest.mark.parametrize("beside", [True, False], ids=["beside-the-log", "elsewhere"])
def test_two_processes_may_set_the_link_at_once(
    tmp_path: Path, children: Children, make: Make, beside: bool
) -> None:
    calls = 0
    while True:
        log = LinkedLog(tmp_path / str(calls), make, beside)
        frozen = children.start(log_after, log.make, stop_myself, calls)
        if not frozen.stops_or_answers():
            break
        peer = Scribe(log.make(patience=0.0), 2)
        log_well(peer)
        close_well(peer.handler)
        assert log.target() == log.all_well[LINK], calls
        frozen.resume()
        assert frozen.answer().faults == ((), ()), calls
        assert log.everything() == log.all_well, calls
        children.kill()
        calls += 1
    assert calls > 20


@in_both_modes
def test_of_two_logs_with_one_link_the_one_that_was_opened_last_has_it(tmp_path: Path, locking: str) -> None:
    link = tmp_path / LINK
    scribes = []
    for number in (21, 22):
        handler = by_size(tmp_path / f"app-{number}.log", locking=locking, current_link=LINK)
        scribes.append(Scribe(handler, number))
        log_well(scribes[-1])
        assert os.readlink(str(link)) == f"app-{number}.log"
    time.sleep(SURVEY + 0.1)
    log_well(scribes[0])
    assert os.readlink(str(link)) == "app-22.log"
    for scribe in scribes:
        close_well(scribe.handler)
