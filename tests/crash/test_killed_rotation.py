"""A process dies in the middle of a rotation; those who log after it leave the folder as if it had not been there."""

import functools
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, List, NamedTuple, Tuple

import pytest

from concurrent_log_handler.cli.reckoning import Account
from support.children import Children, Writer
from support.folder import (
    LIVE,
    Files,
    assert_every_record_once,
    backups,
    contents,
    logged,
    numbers_found,
    plant,
)
from support.records import EVEN, even, line
from support.system import use_interruptible_system
from support.writers import (
    MENDING,
    POINTS,
    Deed,
    Said,
    Scribe,
    WatchedHandler,
    allow_interrupt_before_the_first,
    exit_at_once,
    kill_myself,
)

FULL = 4
"""Records in a full file."""
DEAD, HEIR, THIRD = 1, 2, 3
FOREIGN = dict.fromkeys(
    ("app.log.bak", "app.log.1.old", "app.log.01", ".__app.tmp", ".__app.0123456789abcdef", "other.log.1"),
    b"not the log's\n",
)


class Layout(NamedTuple):
    """A folder before the rotation: how many backups are to be kept, and which are there."""

    keep: int
    numbers: Tuple[int, ...]


LAYOUTS = {
    "keeps-none": Layout(0, (1, 2)),
    "keeps-one": Layout(1, (1,)),
    "keeps-three-of-three": Layout(3, (1, 2, 3)),
    "keeps-three-with-a-gap": Layout(3, (1, 3)),
    "keeps-three-without-the-first": Layout(3, (2, 3)),
    "keeps-many-with-a-gap": Layout(100, (1, 2, 4, 5)),
}

at_each_point = pytest.mark.parametrize("point", POINTS)
with_each_layout = pytest.mark.parametrize(
    ("layout", "locking"),
    [
        pytest.param(layout, locking, id=f"{name}-{locking}")
        for name, layout in LAYOUTS.items()
        for locking in ("atomic", "exclusive")
        if locking == "atomic" or layout.keep in {0, 3}  # rotating is the same, only what leads to it is not
    ],
)
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def records(writer: int, first: int, last: int) -> List[bytes]:
    return [line(even, writer, number) for number in range(first, last + 1)]


class Scene:
    """A log with backups, and with files beside it that are not its own; and the processes that log to it."""

    def __init__(self, folder: Path, children: Children, layout: Layout, locking: str) -> None:
        self._folder = folder
        self._before: Files = {**backups(layout.numbers), **FOREIGN}
        plant(folder, self._before)
        self._keep = layout.keep
        self._children = children
        self.make: Callable[..., WatchedHandler] = functools.partial(
            WatchedHandler, str(folder / LIVE), maxBytes=FULL * EVEN, backupCount=layout.keep, locking=locking
        )

    def writer(self, number: int, **interrupts: Deed) -> Writer:
        return self._children.writer(functools.partial(self.make, interrupts=interrupts), number)

    def after(self, *parts: List[bytes]) -> Files:
        """Return what the folder would be if nobody had died, and these records had been logged in turn."""
        return logged(self._before, [record for part in parts for record in part], FULL * EVEN, self._keep)

    def found(self, drafts: bool = True) -> Files:
        return {
            name: content
            for name, content in contents(self._folder).items()
            if drafts or not re.fullmatch(r"\.__app\.[0-9a-f]{16}\.tmp", name)
        }


@pytest.fixture
def scene(live: Path, children: Children, layout: Layout, locking: str) -> Scene:
    return Scene(live.parent, children, layout, locking)


def log(writer: Writer, count: int = 1) -> Said:
    said = writer.log(count)
    assert (said.failures, said.reports) == ((), ())
    return said


def die(writer: Writer, code: int = -9) -> None:
    """Let a writer log the record that it does not survive."""
    writer.tell(1)
    assert writer.ended() == code


@with_each_layout
@at_each_point
def test_a_new_process_mends_it(scene: Scene, point: str) -> None:
    dying = scene.writer(DEAD, **{point: kill_myself})
    log(dying, FULL)
    die(dying)
    heir = scene.writer(HEIR)
    for number in range(1, 2 * FULL + 2):
        log(heir)
        assert scene.found() == scene.after(records(DEAD, 1, FULL), records(HEIR, 1, number))


@with_each_layout
@at_each_point
def test_a_process_that_was_running_mends_it(scene: Scene, point: str) -> None:
    heir, dying = scene.writer(HEIR), scene.writer(DEAD, **{point: kill_myself})
    log(heir, FULL // 2)
    log(dying, FULL // 2)
    die(dying)
    for number in range(FULL // 2 + 1, 3 * FULL):
        said = log(heir)
        # What the dead one had in the making, after its rotation was over, goes with the next rotation.
        assert scene.found(drafts=said.rotations > 0) == scene.after(
            records(HEIR, 1, FULL // 2), records(DEAD, 1, FULL // 2), records(HEIR, FULL // 2 + 1, number)
        )


@pytest.mark.parametrize("locking", ["atomic"])
@pytest.mark.parametrize("layout", [LAYOUTS["keeps-three-of-three"]])
@at_each_point
def test_it_does_not_matter_how_it_died(scene: Scene, point: str) -> None:
    dying = scene.writer(DEAD, **{point: exit_at_once})
    log(dying, FULL)
    die(dying, code=9)
    log(scene.writer(HEIR), FULL + 1)
    assert scene.found() == scene.after(records(DEAD, 1, FULL), records(HEIR, 1, FULL + 1))


@in_both_modes
@pytest.mark.parametrize("layout", [LAYOUTS["keeps-none"], LAYOUTS["keeps-three-of-three"]])
@pytest.mark.parametrize("second", MENDING)
@pytest.mark.parametrize("first", ["open_epoch", "set_aside", "publish", "reschedule"])
def test_the_one_who_mends_it_may_die_of_that_too(scene: Scene, first: str, second: str) -> None:
    dying = scene.writer(DEAD, **{first: kill_myself})
    log(dying, FULL)
    die(dying)
    die(scene.writer(HEIR, **{second: kill_myself}))
    third = scene.writer(THIRD)
    for number in range(1, 2 * FULL + 2):
        log(third)
        assert scene.found() == scene.after(records(DEAD, 1, FULL), records(THIRD, 1, number))


def die_logging(connection: Connection, make: Callable[[], WatchedHandler], before: int, calls: int) -> None:
    """Log some records, then one more that dies after some system calls."""
    system = use_interruptible_system()
    scribe = Scribe(make(), DEAD)
    assert scribe.log(before).failures == ()
    system.interrupt(kill_myself, calls)
    connection.send(scribe.log())


@in_both_modes
@pytest.mark.parametrize(
    ("layout", "before"),
    [
        (LAYOUTS["keeps-three-with-a-gap"], 0),
        (LAYOUTS["keeps-three-with-a-gap"], FULL),
        (LAYOUTS["keeps-none"], FULL),
    ],
    ids=["first-record", "rotates", "rotates-and-keeps-none"],
)
def test_it_may_die_after_any_system_call(
    tmp_path: Path, children: Children, layout: Layout, before: int, locking: str
) -> None:
    ended = False
    calls = -1
    while not ended:
        calls += 1
        folder = tmp_path / str(calls)
        folder.mkdir()
        scene = Scene(folder, children, layout, locking)
        code = children.start(die_logging, scene.make, before, calls).ended()
        heir = Scribe(scene.make(), HEIR)  # not in a process of its own, there are so many
        said = heir.log(2 * FULL + 1)
        heir.handler.close()
        assert (said.failures, said.reports) == ((), ())
        # Who dies right after its record was written could not acknowledge it any more.
        unwritten, written = [
            scene.after(records(DEAD, 1, last), records(HEIR, 1, 2 * FULL + 1))
            for last in (before, before + 1)
        ]
        assert scene.found() in (unwritten, written), f"killed after {calls} calls"
        ended = code == 0
        assert ended or code == -9
        if ended:
            assert scene.found() == written
    assert calls > 20


LONG_ROW, OLDEST = 40, 9


def die_in_the_background(connection: Connection, make: Callable[[], WatchedHandler], point: str) -> None:
    """Log, and tell so each time, until the rotation that goes on in a thread meanwhile comes to a point."""
    allow_interrupt_before_the_first()
    handler = make()
    handler.interrupt_in_background(point, kill_myself)
    scribe = Scribe(handler, DEAD)
    for _ in range(FULL + 1):
        connection.send(scribe.log())
    handler.close()


@in_both_modes
@at_each_point
def test_a_rotation_that_was_finished_in_the_background_is_mended_too(
    live: Path, children: Children, point: str, locking: str
) -> None:
    row = {f"{LIVE}.{number}": line(even, OLDEST, LONG_ROW + 1 - number) for number in range(1, LONG_ROW + 1)}
    plant(live.parent, row)
    make = functools.partial(
        WatchedHandler, str(live), maxBytes=FULL * EVEN, backupCount=1_000, locking=locking
    )
    dying = children.start(die_in_the_background, make, point)
    assert dying.ended() == -9
    acknowledged = len(dying.rest())
    heir = children.writer(make, HEIR)
    heir.log(2 * FULL + 1)
    said = heir.end()
    assert (said.failures, said.reports) == ((), ())
    # The last one may have been written without having been acknowledged.
    written = len(numbers_found(live)[DEAD])
    assert written in (acknowledged, acknowledged + 1)
    accounts = [Account(OLDEST, LONG_ROW), Account(DEAD, written), said.account]
    assert_every_record_once(live, accounts, even)
