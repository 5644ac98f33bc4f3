"""A process is stopped in the middle of its work; nobody waits for it, and it hurts nobody when it goes on."""

import functools
import itertools
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from support.children import Children, Writer
from support.folder import LIVE, assert_every_record_once, contents, numbers_found
from support.records import EVEN, even
from support.system import use_interruptible_system
from support.writers import MENDING, POINTS, Deed, Said, Scribe, WatchedHandler, kill_myself, stop_myself

PATIENCE = 0.25
FULL = 64
"""Records in a full file."""
FROZEN, FRESH, OTHERS = 4, 5, (1, 2, 3)
DURING = 100
"""Records that each of the others logs meanwhile."""
EVERYTHING = 100_000


def make_handler(live: Path, keep: int, interrupts: Dict[str, Deed], full: int = FULL) -> WatchedHandler:
    return WatchedHandler(
        str(live), interrupts, maxBytes=full * EVEN, backupCount=keep, patience=PATIENCE, locking="atomic"
    )


class Scene:
    """A full log, some writers, and one who is frozen while it rotates it."""

    def __init__(self, live: Path, children: Children, keep: int) -> None:
        self.live = live
        self.keep = keep
        self._children = children
        self.others = [self.writer(number) for number in OTHERS]

    def writer(self, number: int, **interrupts: Deed) -> Writer:
        return self._children.writer(
            functools.partial(make_handler, self.live, self.keep, interrupts), number
        )

    def fill(self, last: Writer) -> None:
        """Have all log until the file is full."""
        for writer in self.others:
            writer.log()
        last.log(FULL - len(self.others))

    def log_meanwhile(self) -> None:
        """Have the others log, and one more that knows nothing of what was before; none may wait for long."""
        for writer in self.others:
            writer.tell(DURING)
        self.others.append(self.writer(FRESH))
        self.others[-1].tell(DURING)
        for said in [writer.said() for writer in self.others]:
            assert (said.failures, said.reports) == ((), ())
            assert said.slowest < 4 * PATIENCE

    def rotate_once_more(self) -> List[Said]:
        """Have the others log until one of them has rotated; return what they say."""
        count = sum(writer.log().rotations for writer in self.others)
        while sum(writer.log().rotations for writer in self.others) == count:
            pass
        return [writer.log() for writer in self.others]


@pytest.mark.parametrize("keep", [0, 1, EVERYTHING])
@pytest.mark.parametrize("point", POINTS)
def test_nobody_waits_for_one_that_is_frozen_while_it_rotates(
    live: Path, children: Children, point: str, keep: int
) -> None:
    scene = Scene(live, children, keep)
    frozen = scene.writer(FROZEN, **{point: stop_myself})
    scene.fill(last=frozen)
    frozen.tell(1)
    frozen.stopped()
    scene.log_meanwhile()

    during = {number: list(range(2, DURING + 2)) for number in OTHERS}
    during[FRESH] = list(range(1, DURING + 1))
    before = {number: [1] for number in OTHERS}
    before[FROZEN] = list(range(1, FULL - len(OTHERS) + 1))
    there = joined(before, during)
    is_set_aside = POINTS.index(point) >= POINTS.index("set_aside")
    if not keep and is_set_aside:
        # Those who were running stay with the file that has been set aside, until its successor is announced.
        there = {FRESH: during[FRESH]} if point in {"set_aside", "publish", "reschedule"} else during
    assert numbers_found(live) == there

    frozen.resume()
    said = frozen.said()
    assert (said.failures, said.reports) == ((), ())
    if not keep and not is_set_aside:  # the file that is discarded is the one that all have logged to
        there = {}
    assert numbers_found(live) == joined(there, {FROZEN: [said.account.records]})

    everybody = [said, *scene.rotate_once_more()]
    assert [(each.failures, each.reports) for each in everybody] == [((), ())] * 5
    if keep == EVERYTHING:
        assert_every_record_once(live, [each.account for each in everybody], even, FULL * EVEN)
    else:
        assert set(contents(live.parent)) == {LIVE, *(f"{LIVE}.{number}" for number in range(1, keep + 1))}
        last = {each.account.writer: each.account.records for each in everybody}
        found = numbers_found(live)
        assert found == {writer: list(range(found[writer][0], last[writer] + 1)) for writer in found}
        assert found.keys() >= {FRESH, *OTHERS}


def joined(before: Dict[int, List[int]], after: Dict[int, List[int]]) -> Dict[int, List[int]]:
    return {writer: before.get(writer, []) + after.get(writer, []) for writer in {*before, *after}}


@pytest.mark.parametrize("point", MENDING)
def test_nobody_waits_for_one_that_is_frozen_while_it_mends_the_rotation_of_a_dead_one(
    live: Path, children: Children, point: str
) -> None:
    scene = Scene(live, children, EVERYTHING)
    dying = scene.writer(FROZEN + 2, set_aside=kill_myself)
    frozen = scene.writer(FROZEN, **{point: stop_myself})
    frozen.log(FULL // 2)
    dying.log(FULL // 2)
    dying.tell(1)
    assert dying.ended() == -9
    frozen.tell(1)
    frozen.stopped()
    scene.log_meanwhile()
    frozen.resume()
    everybody = [frozen.said(), *scene.rotate_once_more()]
    assert [(each.failures, each.reports) for each in everybody] == [((), ())] * 5
    dead = everybody[0].account._replace(writer=FROZEN + 2, records=FULL // 2)
    accounts = [dead, *(each.account for each in everybody)]
    assert_every_record_once(live, accounts, even, FULL * EVEN)


class SteppedClock:
    """Stands still, so that a lease lasts, until it is set forward."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


def log_with_a_stop(
    connection: Connection, make: Callable[[], WatchedHandler], before: int, leased: bool, calls: int
) -> None:
    """Log some records, then when told one more, during which the process stops after some system calls.

    Tell how many calls were still to come.
    """
    system = use_interruptible_system()
    scribe = Scribe(make(), FROZEN)
    clock = SteppedClock()
    if leased:
        scribe.handler._log._clock = clock

    def stop() -> None:
        stop_myself()
        clock.now = time.monotonic()

    connection.send(scribe.log(before))
    connection.recv()
    system.interrupt(stop, calls)
    before_it = system.calls
    said = scribe.log()
    connection.send((said, system.calls - before_it - calls))


@pytest.mark.parametrize("keep", [0, 1, EVERYTHING])
@pytest.mark.parametrize(
    ("before", "leased", "full", "at_least"),
    # A larger file where there has to be a lease: with keep=0 there is none when the file is nearly full.
    [(0, False, FULL, 10), (1, False, FULL, 3), (1, True, 4_000, 1)],
    ids=["its-first", "it-looks", "it-has-a-lease"],
)
def test_a_record_whose_writer_is_frozen_after_any_system_call_is_there_once(
    tmp_path: Path, children: Children, keep: int, before: int, leased: bool, full: int, at_least: int
) -> None:
    rounds = 1 if keep == EVERYTHING else keep + 1  # until the file that the frozen one has in hand is gone
    for calls in itertools.count():
        live = tmp_path / str(calls) / LIVE
        live.parent.mkdir()
        make = functools.partial(make_handler, live, keep, {}, full)
        frozen = children.start(log_with_a_stop, make, before, leased, calls)
        frozen.answer()
        peer = children.writer(make, OTHERS[0])
        peer.log()
        frozen.tell(None)
        if not frozen.stops_or_answers():
            break
        assert peer.log(rounds * full).rotations == rounds
        frozen.resume()
        (said, calls_to_come), last = frozen.answer(), peer.log()
        assert [(each.failures, each.reports) for each in (said, last)] == [((), ())] * 2

        found = numbers_found(live)
        numbers = list(range(1, before + 2))
        if (
            keep != EVERYTHING
        ):  # older ones have gone with their file; so has this one, if all was done by then
            numbers = numbers[-1:] if calls_to_come else []
        assert found.get(FROZEN, []) == numbers, calls
        assert found[OTHERS[0]] == list(range(found[OTHERS[0]][0], last.account.records + 1)), calls
        assert len(contents(live.parent)) == 1 + min(keep, rounds), calls
        children.kill()
    assert calls > at_least
