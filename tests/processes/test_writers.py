"""Many writers, one rotating file: every record is there once, whole, in its writer's order."""

import functools
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest

from concurrent_log_handler import logfile
from concurrent_log_handler.cli.reckoning import survey
from support.children import LONG, Children, Writer
from support.folder import assert_every_record_once, contents, numbers_found, rotations_on_page
from support.records import EVEN, LONGEST, varied
from support.writers import Said, Scribe, WatchedHandler

MAX_BYTES = 4_000
NOTHING_EXPIRES: Dict[str, Any] = {"maxBytes": MAX_BYTES, "backupCount": 100_000}

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def log_at_once(writers: Sequence[Writer], count: int) -> List[Said]:
    for writer in writers:
        writer.tell(count)
    return [writer.said() for writer in writers]


def assert_all_well(live: Path, said: Sequence[Said], rotations: int = -1, at_least: int = 20) -> None:
    """Assert that nobody complained, and that the folder is complete, with each rotation told by who made it."""
    assert [(each.failures, each.reports) for each in said] == [((), ())] * len(said)
    found = assert_every_record_once(live, [each.account for each in said], varied, MAX_BYTES)
    assert found.backups >= at_least
    if rotations < 0:
        rotations = sum(each.rotations for each in said)
    assert (rotations, rotations_on_page(live.parent)) == (found.backups, found.backups)


@both_modes
def test_spawned_processes(live: Path, children: Children, locking: str) -> None:
    make = functools.partial(WatchedHandler, str(live), locking=locking, **NOTHING_EXPIRES)
    writers = [children.writer(make, number, varied, by="spawn") for number in range(1, 9)]
    said = log_at_once(writers, 400)
    for writer in writers:
        writer.end()
    assert_all_well(live, said)
    if locking == "exclusive":  # whoever finds the file full rotates it before anybody else can append
        sizes = [(live.parent / name).stat().st_size for name in survey(live).logs]
        assert max(sizes) < MAX_BYTES + 2 * LONGEST


@both_modes
def test_processes_forked_from_one_that_has_logged(live: Path, children: Children, locking: str) -> None:
    handler = WatchedHandler(str(live), locking=locking, **NOTHING_EXPIRES)
    parent = Scribe(handler, 9, varied)
    parent.log(30)
    inherited = handler.num_rollovers
    writers = [children.writer(lambda: handler, number, varied) for number in range(1, 9)]
    for writer in writers:
        writer.tell(400)
    parent.log(400)
    said = [parent.said(), *(writer.said() for writer in writers)]
    handler.close()
    # Each child goes on counting from what its parent had counted.
    assert_all_well(live, said, sum(each.rotations for each in said) - 8 * inherited)


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
    assert_all_well(live, [scribe.said() for scribe in scribes])


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


def test_two_handlers_in_turn_keep_the_order_of_their_thread_when_a_peer_rotates(
    live: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Dict[str, Any] = {"maxBytes": 100_000, "backupCount": 100, "locking": "atomic"}
    peer = children.writer(functools.partial(WatchedHandler, str(live), **options), 2)
    # One handler looks for the first time after the peer's rotation, the other one just before it. With an
    # ordinary lease it would have to be done within a millisecond.
    monkeypatch.setattr(logfile, "LEASE", LONG)
    first, second = handlers = [WatchedHandler(str(live), **options) for _ in range(2)]
    scribe = Scribe(first, 1)
    scribe.handler = second
    scribe.log()
    assert peer.log(100_000 // EVEN + 1).rotations == 1
    for handler in (first, second):
        scribe.handler = handler
        scribe.log()
    for handler in handlers:
        handler.close()
    found = numbers_found(live)
    assert found[1] == [1, 2, 3]


@both_modes
def test_fifty_processes_that_end_after_five_records(live: Path, children: Children, locking: str) -> None:
    make = functools.partial(WatchedHandler, str(live), locking=locking, **NOTHING_EXPIRES)
    writers = [children.writer(make, number, varied) for number in range(1, 51)]
    for writer in writers:
        writer.tell(5)
        writer.tell(None)  # none waits for another, so some end while others begin
    said = [writer.said() for writer in writers]
    assert [writer.ended() for writer in writers] == [0] * 50
    assert_all_well(live, said, at_least=1)


@both_modes
@pytest.mark.parametrize("keep", [0, 1, 3])
def test_what_expires_is_the_oldest_of_each_writer(
    live: Path, children: Children, locking: str, keep: int
) -> None:
    make = functools.partial(
        WatchedHandler, str(live), maxBytes=MAX_BYTES, backupCount=keep, locking=locking
    )
    writers = [children.writer(make, number) for number in range(1, 9)]
    while sum(each.rotations for each in log_at_once(writers, 200)) < 20:
        pass
    # With no lease left to anybody, the last ones stand in the youngest file, or in the one before it.
    said = [writer.log() for writer in writers]
    assert [(each.failures, each.reports) for each in said] == [((), ())] * 8

    files = contents(live.parent)
    assert set(files) == {"app.log", *(f"app.log.{number}" for number in range(1, keep + 1))}
    assert [len(files[name]) >= MAX_BYTES for name in sorted(files)[1:]] == [True] * keep
    found = numbers_found(live)
    last = said[0].account.records
    assert found == {writer: list(range(numbers[0], last + 1)) for writer, numbers in found.items()}
    if keep:
        assert sorted(found) == list(range(1, 9))
