"""A process is stopped while it rotates by time; nobody waits for it, and no record gets lost when it goes on."""

import functools
import itertools
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import pytest

from concurrent_log_handler.cli.reckoning import read_records
from concurrent_log_handler.state import PAGE_SIZE
from support.children import Children, Writer
from support.clock import HOUR, Clock, Jumping
from support.folder import HELPERS, LIVE, PAGE, dated, noted_boundary
from support.records import EVEN, even, lines
from support.system import use_interruptible_system
from support.writers import (
    MENDING,
    POINTS,
    Deed,
    Said,
    Scribe,
    WatchedTimedHandler,
    kill_myself,
    stop_myself,
)

PATIENCE = 0.25
FROZEN, FRESH, DYING, OTHERS = 4, 5, 6, (1, 2, 3)
BEFORE, DURING = 10, 100
"""Records that each one logs before, and each of the others while one is frozen."""


class Scene:
    """A log in its first period, some writers, and one who is frozen while it rotates it."""

    def __init__(self, live: Path, children: Children) -> None:
        self.folder = live.parent
        self.clock = Clock()
        self.begin = self.clock()
        self._children = children
        self.make: Callable[..., WatchedTimedHandler] = functools.partial(
            Jumping,
            str(live),
            clock=self.clock,
            when="H",
            utc=True,
            patience=PATIENCE,
            locking="atomic",
        )
        self.others: List[Writer] = []

    def start_others(self) -> None:
        self.others = [self.writer(number) for number in OTHERS]
        for writer in self.others:
            writer.log(BEFORE)

    def writer(self, number: int, **interrupts: Deed) -> Writer:
        return self._children.writer(functools.partial(self.make, interrupts=interrupts), number)

    def log_meanwhile(self, fresh: int = 0) -> None:
        """Have the others log, and one more that knows nothing of what was before; none may wait for long."""
        for writer in self.others:
            writer.tell(DURING)
        if fresh:
            self.others.append(self.writer(fresh))
            self.others[-1].tell(DURING)
        for said in [writer.said() for writer in self.others]:
            assert (said.failures, said.reports) == ((), ())
            assert said.slowest < 4 * PATIENCE

    def assert_every_record_once(
        self, said: List[Said], *periods: float, counters: Sequence[int] = ()
    ) -> None:
        """Assert that the files hold all that was logged, and are those of the periods that began then."""
        assert [(each.failures, each.reports) for each in said] == [((), ())] * len(said)
        names = [dated(*each) for each in itertools.zip_longest(periods, counters, fillvalue=0)] + [LIVE]
        assert sorted(each.name for each in self.folder.iterdir()) == sorted([*names, *HELPERS])
        assert len((self.folder / PAGE).read_bytes()) % 2 == PAGE_SIZE % 2
        found: Dict[int, List[int]] = {}
        for name in names:
            for _, (writer, number) in read_records(
                (self.folder / name).read_bytes().splitlines(keepends=True)
            ):
                found.setdefault(writer, []).append(number)
        assert found == {each.account.writer: list(range(1, each.account.records + 1)) for each in said}


@pytest.fixture
def scene(live: Path, children: Children) -> Scene:
    return Scene(live, children)


@pytest.mark.parametrize("another_period", [False, True], ids=["within-a-period", "beyond-it"])
@pytest.mark.parametrize("point", POINTS)
def test_nobody_waits_for_one_that_is_frozen_while_it_rotates(
    scene: Scene, point: str, another_period: bool
) -> None:
    frozen = scene.writer(FROZEN, **{point: stop_myself})
    scene.start_others()
    frozen.log(BEFORE)
    scene.clock.advance(HOUR + 10)
    first_end = scene.clock()
    frozen.tell(1)
    frozen.stopped()
    scene.log_meanwhile(FRESH)
    if another_period:
        scene.clock.advance(HOUR + 10)
        scene.log_meanwhile()
    frozen.resume()
    said = frozen.said()
    has_moved_boundary = POINTS.index(point) >= POINTS.index("reschedule")
    moved_at = first_end if has_moved_boundary else scene.clock()
    assert noted_boundary(scene.folder) == moved_at + HOUR

    # All that is due now is done by the first who comes.
    everybody = [said, *(writer.log() for writer in scene.others)]
    periods = [scene.begin]
    if another_period and has_moved_boundary:
        periods.append(first_end)
        moved_at = scene.clock()
    scene.assert_every_record_once(everybody, *periods)
    assert noted_boundary(scene.folder) == moved_at + HOUR

    scene.clock.advance(HOUR)
    everybody = [writer.log() for writer in (frozen, *scene.others)]
    scene.assert_every_record_once(everybody, *periods, moved_at)
    assert sum(each.rotations for each in everybody) == len(periods) + 1


@pytest.mark.parametrize("point", MENDING)
@pytest.mark.parametrize("died_after", ["open_epoch", "set_aside", "publish", "reschedule"])
def test_nobody_waits_for_one_that_is_frozen_while_it_mends_the_rotation_of_a_dead_one(
    scene: Scene, died_after: str, point: str
) -> None:
    dying = scene.writer(DYING, **{died_after: kill_myself})
    frozen = scene.writer(FROZEN, **{point: stop_myself})
    scene.start_others()
    frozen.log(BEFORE)
    dead = dying.log(BEFORE)
    scene.clock.advance(HOUR + 10)
    dying.tell(1)
    assert dying.ended() == -9
    frozen.tell(1)
    frozen.stopped()
    scene.log_meanwhile(FRESH)
    frozen.resume()
    everybody = [dead, frozen.said(), *(writer.log() for writer in scene.others)]
    scene.assert_every_record_once(everybody, scene.begin)
    assert noted_boundary(scene.folder) == scene.clock() + HOUR


@pytest.mark.parametrize("point", POINTS[POINTS.index("publish") :])
def test_a_period_that_ends_while_one_is_frozen_over_a_full_file_keeps_its_records(
    scene: Scene, point: str
) -> None:
    full = functools.partial(scene.make, maxBytes=BEFORE * EVEN)
    frozen = scene._children.writer(functools.partial(full, interrupts={point: stop_myself}), FROZEN)
    frozen.log(BEFORE)
    frozen.tell(1)
    frozen.stopped()
    fresh = scene.writer(FRESH)
    fresh.log(2)
    scene.clock.advance(HOUR + 10)
    frozen.resume()
    everybody = [frozen.said(), fresh.log()]
    scene.assert_every_record_once(everybody, scene.begin, scene.begin, counters=(0, 1))
    # The frozen one's own record may follow: it was logged before the period ended, too.
    assert (scene.folder / dated(scene.begin, 1)).read_bytes().startswith(lines(even, FRESH, (1, 2)))
    assert noted_boundary(scene.folder) == scene.clock() + HOUR


def make_with_a_stop(connection: Connection, make: Callable[[], WatchedTimedHandler]) -> None:
    handler = make()
    connection.send(Scribe(handler, FROZEN).log())


@pytest.mark.parametrize("point", POINTS[1:])
def test_nobody_waits_for_one_that_is_frozen_while_a_handler_is_made_for_an_overdue_log(
    scene: Scene, children: Children, point: str
) -> None:
    scene.start_others()
    scene.clock.advance(HOUR + 10)
    frozen = children.start(make_with_a_stop, functools.partial(scene.make, interrupts={point: stop_myself}))
    frozen.stopped()
    scene.log_meanwhile(FRESH)
    frozen.resume()
    everybody = [frozen.answer(), *(writer.log() for writer in scene.others)]
    scene.assert_every_record_once(everybody, scene.begin)
    assert noted_boundary(scene.folder) == scene.clock() + HOUR


def log_with_a_stop(connection: Connection, scene: Scene, calls: int) -> None:
    """Log a record in the first period and one in the next, during which the process stops after some calls."""
    system = use_interruptible_system()
    scribe = Scribe(scene.make(), FROZEN)
    connection.send(scribe.log())
    connection.recv()
    system.interrupt(stop_myself, calls)
    connection.send(scribe.log())


def test_a_record_whose_writer_is_frozen_after_any_system_call_is_there_once(
    tmp_path: Path, children: Children
) -> None:
    for calls in itertools.count():
        live = tmp_path / str(calls) / LIVE
        live.parent.mkdir()
        scene = Scene(live, children)
        frozen = children.start(log_with_a_stop, scene, calls)
        frozen.answer()
        peer = scene.writer(OTHERS[0])
        peer.log(BEFORE)
        scene.clock.advance(HOUR)
        frozen.tell(None)
        if not frozen.stops_or_answers():
            break
        peer.log(DURING)
        frozen.resume()
        scene.assert_every_record_once([frozen.answer(), peer.log()], scene.begin)
        assert noted_boundary(scene.folder) == scene.clock() + HOUR, calls
        children.kill()
    assert calls > 20
