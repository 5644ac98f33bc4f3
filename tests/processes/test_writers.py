"""Many writers, one rotating file: every record is there once, whole, in its writer's order."""

import functools
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

import pytest

from concurrent_log_handler.cli.reckoning import mark
from support.children import LONG, Children, Writer
from support.folder import assert_every_record_once, contents, numbers_found, rotations_on_page
from support.records import EVEN, even, varied
from support.writers import Said, Scribe, WatchedHandler, stretch_leases

MAX_BYTES = 4_000
ROTATIONS = 20
NOTHING_EXPIRES: Dict[str, Any] = {"maxBytes": MAX_BYTES, "backupCount": 100_000}

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def log_until_rotated(writers: Sequence[Writer], parent: Optional[Scribe] = None) -> None:
    """Have all log at once until the file has been rotated often. (Under load it may exceed its size by much.)"""
    rotations = 0
    while rotations < ROTATIONS:
        for writer in writers:
            writer.tell(200)
        if parent is not None:
            parent.log(200)
        rotations = total([writer.said() for writer in writers])


def assert_all_well(live: Path, said: Sequence[Said], rotations: int) -> None:
    """Assert that nobody complained, that the folder is complete, and that it was rotated as often as told."""
    assert [(each.failures, each.reports) for each in said] == [((), ())] * len(said)
    found = assert_every_record_once(live, [each.account for each in said], varied, MAX_BYTES)
    assert (rotations, rotations_on_page(live.parent)) == (found.backups, found.backups)
    assert found.backups > 0


def total(said: Sequence[Said]) -> int:
    return sum(each.rotations for each in said)


@both_modes
def test_spawned_processes(live: Path, children: Children, locking: str) -> None:
    make = functools.partial(WatchedHandler, str(live), locking=locking, **NOTHING_EXPIRES)
    writers = [children.writer(make, number, varied, by="spawn") for number in range(1, 9)]
    log_until_rotated(writers)
    said = [writer.end() for writer in writers]
    assert_all_well(live, said, total(said))


@both_modes
def test_processes_forked_from_one_that_has_logged(live: Path, children: Children, locking: str) -> None:
    handler = WatchedHandler(str(live), locking=locking, **NOTHING_EXPIRES)
    parent = Scribe(handler, 9, varied)
    parent.log(30)
    inherited = handler.num_rollovers
    writers = [children.writer(lambda: handler, number, varied) for number in range(1, 9)]
    log_until_rotated(writers, parent)
    handler.close()
    said = [parent.said(), *(writer.end() for writer in writers)]
    # Each child goes on counting from what its parent had counted.
    assert_all_well(live, said, total(said) - len(writers) * inherited)


def run_in_threads(functions: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)


@both_modes
def test_threads_on_one_handler(live: Path, locking: str) -> None:
    handler = WatchedHandler(str(live), locking=locking, **NOTHING_EXPIRES)
    scribes = [Scribe(handler, number, varied) for number in range(1, 9)]
    run_in_threads([functools.partial(scribe.log, 400) for scribe in scribes])
    handler.close()
    assert_all_well(live, [scribe.said() for scribe in scribes], handler.num_rollovers)


@both_modes
def test_two_handlers_in_two_threads_of_a_process(live: Path, locking: str) -> None:
    handlers = [WatchedHandler(str(live), locking=locking, **NOTHING_EXPIRES) for _ in range(2)]
    scribes = [Scribe(handler, number, varied) for number, handler in enumerate(handlers, 1)]
    run_in_threads([functools.partial(scribe.log, 1_000) for scribe in scribes])
    for handler in handlers:
        handler.close()
    said = [scribe.said() for scribe in scribes]
    assert_all_well(live, said, total(said))


@both_modes
def test_two_handlers_in_turn_keep_the_order_of_their_thread(live: Path, locking: str) -> None:
    handlers = [WatchedHandler(str(live), locking=locking, **NOTHING_EXPIRES) for _ in range(2)]
    scribe = Scribe(handlers[0], 1, varied)
    for number in range(2_000):
        scribe.handler = handlers[number % 2]
        scribe.log()
    for handler in handlers:
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    assert_all_well(live, [scribe.said()], sum(handler.num_rollovers for handler in handlers))


@pytest.fixture
def long_leases() -> Iterator[None]:
    """Let leases last for 0.1 s in all processes, so that what happens during one needs no luck."""
    stretch_leases(100)
    yield
    stretch_leases(1 / 100)


@pytest.mark.usefixtures("long_leases")
def test_two_handlers_in_turn_keep_the_order_of_their_thread_when_a_peer_rotates(
    live: Path, children: Children
) -> None:
    options: Dict[str, Any] = {"maxBytes": 100_000, "backupCount": 100, "locking": "atomic"}
    peer = children.writer(functools.partial(WatchedHandler, str(live), **options), 2)
    first, second = handlers = [WatchedHandler(str(live), **options) for _ in range(2)]
    scribe = Scribe(second, 1)
    scribe.log()
    assert peer.log(100_000 // EVEN + 1).rotations == 1
    # One looks for the first time, after the rotation; the other one still relies on its look from before.
    for handler in (first, second):
        scribe.handler = handler
        scribe.log()
    for handler in handlers:
        handler.close()
    assert numbers_found(live)[1] == [1, 2, 3]


def first_is_large(writer: int, number: int) -> str:
    """Return a text of which the first one fills a file at once."""
    return even(writer, number) if number > 1 else mark("", writer, number, "x" * 300_000)


def discard_by_size(connection: Connection, live: Path) -> None:
    peer = Scribe(WatchedHandler(str(live), maxBytes=250_000, locking="atomic"), 2, first_is_large)
    connection.send(peer.log(2))


def discard_on_demand(connection: Connection, live: Path) -> None:
    peer = Scribe(WatchedHandler(str(live), maxBytes=250_000, locking="atomic"), 2)
    peer.handler.doRollover()
    connection.send(peer.log())


def discard_at_start(connection: Connection, live: Path) -> None:
    peer = Scribe(WatchedHandler(str(live), mode="w", maxBytes=250_000, locking="atomic"), 2)
    connection.send(peer.log())


@pytest.mark.parametrize("discard", [discard_by_size, discard_on_demand, discard_at_start])
@pytest.mark.usefixtures("long_leases")
def test_a_record_that_follows_the_discarding_of_the_file_by_a_peer_is_there(
    live: Path, children: Children, discard: Callable[[Connection, Path], None]
) -> None:
    make = functools.partial(WatchedHandler, str(live), maxBytes=250_000, locking="atomic")
    writer = children.writer(make, 1)
    writer.log()
    last = children.start(discard, live).answer().account.records
    said = writer.log()
    assert (said.failures, said.reports) == ((), ())
    assert numbers_found(live) == {1: [2], 2: [last]}


@both_modes
def test_fifty_processes_that_end_after_five_records(live: Path, children: Children, locking: str) -> None:
    make = functools.partial(WatchedHandler, str(live), locking=locking, **NOTHING_EXPIRES)
    writers = [children.writer(make, number, varied) for number in range(1, 51)]
    for writer in writers:
        writer.tell(5)
        writer.tell(None)  # none waits for another, so some end while others begin
    for writer in writers:
        writer.said()
    said = [writer.said() for writer in writers]
    assert [writer.ended() for writer in writers] == [0] * 50
    assert_all_well(live, said, total(said))


@both_modes
@pytest.mark.parametrize("keep", [0, 1, 3])
def test_what_expires_is_the_oldest_of_each_writer(
    live: Path, children: Children, locking: str, keep: int
) -> None:
    make = functools.partial(WatchedHandler, str(live), maxBytes=MAX_BYTES, backupCount=keep, locking=locking)
    writers = [children.writer(make, number) for number in range(1, 9)]
    log_until_rotated(writers)
    # With no lease left to anybody, the last ones stand in the youngest file, or in the one before it.
    for writer in writers:
        writer.log()
    said = [writer.end() for writer in writers]
    assert [(each.failures, each.reports) for each in said] == [((), ())] * 8

    files = contents(live.parent)
    assert set(files) == {"app.log", *(f"app.log.{number}" for number in range(1, keep + 1))}
    assert [len(files[name]) >= MAX_BYTES for name in sorted(files)[1:]] == [True] * keep
    found = numbers_found(live)
    last = said[0].account.records
    assert found == {writer: list(range(numbers[0], last + 1)) for writer, numbers in found.items()}
    if keep:
        assert sorted(found) == list(range(1, 9))
