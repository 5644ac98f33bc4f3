"""A process dies while it rotates by time; the next one leaves the folder, and the boundary, as if nothing had been."""

import functools
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, List

import pytest

from concurrent_log_handler import state
from concurrent_log_handler.state import PAGE_SIZE
from support.children import Children, Writer
from support.clock import HOUR, Clock, Jumping
from support.folder import LIVE, LOCK, PAGE, Files, dated, noted_boundary, plant
from support.records import EVEN, even, lines
from support.system import use_interruptible_system
from support.writers import (
    MENDING,
    POINTS,
    Deed,
    Said,
    Scribe,
    WatchedTimedHandler,
    allow_interrupt_before_the_first,
    kill_myself,
)

FULL = 4
"""Records in a file before its time has come; with `maxBytes` as much as it may hold."""
DEAD, HEIR, THIRD = 1, 2, 3
FOREIGN = dict.fromkeys(
    ("app.log.old", "app.log.2026-13-45_10", "app.log.err.1", ".__app.tmp", ".__app.0123456789abcdef"),
    b"not the log's\n",
)

at_each_point = pytest.mark.parametrize("point", POINTS)
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
by_time_alone_or_by_size_too = pytest.mark.parametrize("max_bytes", [0, FULL * EVEN])


def records(writer: int, first: int, last: int) -> bytes:
    return lines(even, writer, range(first, last + 1))


class Scene:
    """A log in its first period, with files beside it that are not its own, and the processes that log to it."""

    def __init__(
        self, folder: Path, children: Children, locking: str, max_bytes: int, **options: Any
    ) -> None:
        self.folder = folder
        self.clock = Clock()
        self.begin = self.clock()
        plant(folder, FOREIGN)
        self._children = children
        self.make: Callable[..., WatchedTimedHandler] = functools.partial(
            Jumping,
            str(folder / LIVE),
            clock=self.clock,
            when="H",
            utc=True,
            maxBytes=max_bytes,
            locking=locking,
            **options,
        )

    def writer(self, number: int, **interrupts: Deed) -> Writer:
        return self._children.writer(functools.partial(self.make, interrupts=interrupts), number)

    def found(self, drafts: bool = True) -> Files:
        """Return all that is in the folder, but for the helpers, once they are found in order."""
        files = {each.name: each.read_bytes() for each in self.folder.iterdir()}
        noted_boundary(self.folder)
        assert files.pop(LOCK).isdigit()
        assert len(files.pop(PAGE)) % 2 == PAGE_SIZE % 2
        for name, content in FOREIGN.items():
            assert files.pop(name) == content
        return {
            name: content
            for name, content in files.items()
            if drafts or not re.fullmatch(r"\.__app\.[0-9a-f]{16}\.tmp", name)
        }


@pytest.fixture
def scene(live: Path, children: Children, locking: str, max_bytes: int) -> Scene:
    return Scene(live.parent, children, locking, max_bytes)


def log(writer: Writer, count: int = 1) -> Said:
    said = writer.log(count)
    assert (said.failures, said.reports) == ((), ())
    return said


def die(writer: Writer) -> None:
    """Let a writer log the record that it does not survive."""
    writer.tell(1)
    assert writer.ended() == -9


def has_moved_boundary(point: str) -> bool:
    return POINTS.index(point) >= POINTS.index("reschedule")


@in_both_modes
@by_time_alone_or_by_size_too
@at_each_point
@pytest.mark.parametrize("heir_was_running", [False, True], ids=["new-heir", "running-heir"])
def test_somebody_mends_it(scene: Scene, point: str, max_bytes: int, heir_was_running: bool) -> None:
    early = [scene.writer(HEIR)] if heir_was_running else []
    dying = scene.writer(DEAD, **{point: kill_myself})
    count = FULL if not max_bytes else FULL - 1  # not rotated because it is full
    log(dying, count)
    scene.clock.advance(HOUR + 10)
    died_at = scene.clock()
    die(dying)
    scene.clock.advance(10)  # so that a boundary that is moved once more shows
    heir = early[0] if early else scene.writer(HEIR)
    files: Files = {dated(scene.begin): records(DEAD, 1, count)}
    boundary = (died_at if has_moved_boundary(point) else scene.clock()) + HOUR
    for number in range(1, FULL + 1):
        said = log(heir)
        # What the dead one had in the making, after its rotation was over, goes with the next rotation.
        found = scene.found(drafts=not heir_was_running or said.rotations > 0)
        assert found == {**files, LIVE: records(HEIR, 1, number)}
        assert noted_boundary(scene.folder) == boundary

    # The next period is rotated once, too.
    scene.clock.set(boundary)
    log(heir)
    files[dated(boundary - HOUR)] = records(HEIR, 1, FULL)
    assert scene.found() == {**files, LIVE: records(HEIR, FULL + 1, FULL + 1)}
    assert noted_boundary(scene.folder) == boundary + HOUR


@in_both_modes
@at_each_point
@pytest.mark.parametrize("max_bytes", [FULL * EVEN])
def test_the_boundary_stays_when_it_was_the_size(scene: Scene, point: str) -> None:
    dying = scene.writer(DEAD, **{point: kill_myself})
    log(dying, FULL)
    scene.clock.advance(10)
    die(dying)
    heir = scene.writer(HEIR)
    log(heir, FULL + 1)
    assert scene.found() == {
        dated(scene.begin): records(DEAD, 1, FULL),
        dated(scene.begin, 1): records(HEIR, 1, FULL),
        LIVE: records(HEIR, FULL + 1, FULL + 1),
    }
    assert noted_boundary(scene.folder) == scene.begin + HOUR


@in_both_modes
@at_each_point
@pytest.mark.parametrize("max_bytes", [0])
def test_an_overdue_handler_may_die_while_it_is_made(scene: Scene, children: Children, point: str) -> None:
    first = scene.writer(THIRD)
    log(first, FULL)
    first.end()
    scene.clock.advance(HOUR + 10)
    died_at = scene.clock()
    dying = children.start(make_only, functools.partial(scene.make, interrupts={point: kill_myself}))
    assert dying.ended() == -9
    scene.clock.advance(10)
    heir = scene.writer(HEIR)
    files = {dated(scene.begin): records(THIRD, 1, FULL)}
    assert scene.found() == {**files, LIVE: b""}
    log(heir, FULL)
    assert scene.found() == {**files, LIVE: records(HEIR, 1, FULL)}
    assert noted_boundary(scene.folder) == (died_at if has_moved_boundary(point) else scene.clock()) + HOUR


def make_only(connection: Connection, make: Callable[[], WatchedTimedHandler]) -> None:
    allow_interrupt_before_the_first()
    connection.send(make().reports)


@in_both_modes
@pytest.mark.parametrize("max_bytes", [0])
@pytest.mark.parametrize("second", MENDING)
@pytest.mark.parametrize("first", ["open_epoch", "set_aside", "publish", "reschedule"])
def test_the_one_who_mends_it_may_die_of_that_too(
    scene: Scene, children: Children, first: str, second: str
) -> None:
    dying = scene.writer(DEAD, **{first: kill_myself})
    log(dying, FULL)
    scene.clock.advance(HOUR)
    moved_at = scene.clock()
    die(dying)
    if first != "reschedule":
        scene.clock.advance(10)
        moved_at = scene.clock()
    mending = functools.partial(scene.make, interrupts={second: kill_myself})
    assert children.start(make_only, mending).ended() == -9
    if second == "publish" and first != "reschedule":
        scene.clock.advance(10)
        moved_at = scene.clock()
    third = scene.writer(THIRD)
    for number in range(1, FULL + 1):
        log(third)
        assert scene.found() == {
            dated(scene.begin): records(DEAD, 1, FULL),
            LIVE: records(THIRD, 1, number),
        }
        assert noted_boundary(scene.folder) == moved_at + HOUR


# ------------------------------------------------------------------------ after any system call


def die_constructing(connection: Connection, scene: Scene, calls: int) -> None:
    """Die after some system calls of a handler that is made when the log is overdue."""
    system = use_interruptible_system()
    system.interrupt(kill_myself, calls)
    handler = scene.make()
    connection.send(handler.failures + handler.reports)


def die_at_first_record(connection: Connection, scene: Scene, calls: int) -> None:
    system = use_interruptible_system()
    scribe = Scribe(scene.make(), DEAD)
    system.interrupt(kill_myself, calls)
    said = scribe.log()
    connection.send(said.failures + said.reports)


def die_rotating(connection: Connection, scene: Scene, calls: int) -> None:
    system = use_interruptible_system()
    scribe = Scribe(scene.make(), DEAD)
    scribe.log(FULL)
    scene.clock.advance(HOUR)
    system.interrupt(kill_myself, calls)
    said = scribe.log()
    connection.send(said.failures + said.reports)


@in_both_modes
@pytest.mark.parametrize(
    "die_after",
    [die_constructing, die_at_first_record, die_rotating],
    ids=["made", "first-record", "rotates"],
)
def test_it_may_die_after_any_system_call(
    tmp_path: Path, children: Children, locking: str, die_after: Callable[..., None]
) -> None:
    code = -9
    calls = -1
    while code:
        calls += 1
        folder = tmp_path / str(calls)
        folder.mkdir()
        scene = Scene(folder, children, locking, 0)
        files: Files = {}
        if die_after is die_constructing:
            first = Scribe(scene.make(), THIRD)
            first.log(FULL)
            first.handler.close()
            scene.clock.advance(HOUR)
            files[dated(scene.begin)] = records(THIRD, 1, FULL)
        dying = children.start(die_after, scene, calls)
        code = dying.ended()
        assert code in (0, -9), f"killed after {calls} calls"
        if not code:
            assert list(dying.answer()) == []
        heir = Scribe(scene.make(), HEIR)  # not in a process of its own, there are so many
        said = heir.log(FULL)
        heir.handler.close()
        assert (said.failures, said.reports) == ((), ())
        # Who dies right after its record was written could not acknowledge it any more.
        unwritten, written = {
            die_constructing: (b"", b""),
            die_at_first_record: (b"", records(DEAD, 1, 1)),
            die_rotating: (b"", records(DEAD, FULL + 1, FULL + 1)),
        }[die_after]
        if die_after is die_rotating:
            files[dated(scene.begin)] = records(DEAD, 1, FULL)
        ends = [{**files, LIVE: each + records(HEIR, 1, FULL)} for each in (unwritten, written)]
        assert scene.found() in ends, f"killed after {calls} calls"
        assert noted_boundary(scene.folder) == scene.clock() + HOUR
        if not code:
            assert scene.found() == ends[1]
    assert calls > 20


IN_HAND, WAITING = slice(80, 104), slice(2816, 3616)
"""Where the page tells of what is being handed on, and of what is still to be."""
OLD = 3
"""Backups from before; all but the youngest of which expire."""


def die_tidying(connection: Connection, scene: Scene, calls: int) -> None:
    """Rotate when asked to, so that the upkeep is done in the same thread, and die after some system calls."""
    system = use_interruptible_system()
    scribe = Scribe(scene.make(), DEAD)
    scribe.log(FULL)
    scene.clock.advance(HOUR)
    system.interrupt(kill_myself, calls)
    scribe.handler.doRollover()
    connection.send(scribe.handler.failures + scribe.handler.reports)


def handed_on(path: Path) -> List[str]:
    return path.read_text().splitlines() if path.exists() else []


def note(notes: Path, backup_path: str) -> None:
    """Write down what has been handed on; in one write, before the next system call of the package."""
    with notes.open("a") as stream:
        stream.write(Path(backup_path).name + "\n")


@in_both_modes
@pytest.mark.parametrize("handing_on", [False, True], ids=["expires", "hands-on-and-expires"])
def test_it_may_die_after_any_system_call_of_the_upkeep(
    tmp_path: Path,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
    locking: str,
    handing_on: bool,
) -> None:
    monkeypatch.setattr(state, "LONGEST_IN_HAND", 0.0)  # nobody waits for what a dead process had in hand
    code = -9
    calls = -1
    missed = []
    while code:
        calls += 1
        folder, notes = tmp_path / str(calls), tmp_path / f"notes-{calls}"
        folder.mkdir()
        on_rotate = functools.partial(note, notes) if handing_on else None
        scene = Scene(folder, children, locking, 0, backupCount=1, on_rotate=on_rotate, upkeep="inline")
        plant(folder, {dated(scene.begin - hours * HOUR): b"old\n" for hours in range(1, OLD + 1)})
        dying = children.start(die_tidying, scene, calls)
        code = dying.ended()
        assert code in (0, -9), f"killed after {calls} calls"
        if not code:
            assert list(dying.answer()) == []
        page = (folder / PAGE).read_bytes()
        is_taken_off = not any(page[WAITING]) and any(page[IN_HAND])
        heir = Scribe(scene.make(), HEIR)
        heir.log(FULL)
        heir.handler.close()  # waits for the upkeep, which may hold the lock: a record would not
        begin = noted_boundary(scene.folder) - HOUR
        scene.clock.advance(HOUR)
        heir.log()
        heir.handler.close()
        assert (heir.handler.failures, heir.handler.reports) == ([], [])
        assert scene.found() == {
            dated(begin): records(HEIR, 1, FULL),
            LIVE: records(HEIR, FULL + 1, FULL + 1),
        }, f"killed after {calls} calls"
        found = handed_on(notes)
        if handing_on:
            everything = [dated(scene.begin), dated(begin)]
            assert found in (everything, everything[1:]), f"killed after {calls} calls"
            missed += [calls] if found != everything else []
            # Only who dies between the list and the call has handed on nothing for good.
            assert found == everything or is_taken_off, f"killed after {calls} calls"
    assert calls > 40
    assert len(missed) < 5, missed  # the lock is freed there, no more
