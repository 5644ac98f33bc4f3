"""A program has opened so much that there is no descriptor left, or only some, at any point of the log's life."""

import contextlib
import gc
import gzip
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import pytest

from support.children import Children
from support.folder import HELPERS, LIVE
from support.records import EVEN, even, line
from support.writers import Scribe, WatchedHandler

resource = pytest.importorskip("resource")

FULL = 3
MOST_LEFT = 8
"""So many descriptors are enough for everything."""
PROC = Path("/proc/self/fd")

BEFORE, RUNNING = "before the first record", "while running"


class Outcome(NamedTuple):
    """What became of one log."""

    left: int
    logged: int
    failures: Tuple[str, ...]
    reports: Tuple[str, ...]
    leaked: int
    calls_that_failed: bool


class Hog:
    """Opens all that can be opened."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._held: List[int] = []

    def take(self) -> None:
        """Leave so many descriptors and no more."""
        with contextlib.suppress(OSError):
            while True:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(self._left):
            os.close(self._held.pop())

    def free(self) -> None:
        while self._held:
            os.close(self._held.pop())


def open_now() -> int:
    gc.collect()
    return len(list(PROC.iterdir()))


def look_now(handler: WatchedHandler) -> None:
    handler._log._survey_at = handler._log.files._blocked_until = float("-inf")
    handler._log.end_lease()
    if handler._log._appender is not None:
        handler._log._appender.look_again()


def live_through(path: Path, left: int, when: str, options: Dict[str, Any]) -> Outcome:
    """Let a log be without descriptors at some point of its life; then free them, and log on."""
    before = open_now()
    hog = Hog(left)
    handler = WatchedHandler(
        str(path), maxBytes=FULL * EVEN, backupCount=100, use_gzip=True, upkeep="inline", **options
    )
    scribe = Scribe(handler, 1)
    if when == BEFORE:
        hog.take()
        scribe.log(2)
    else:
        scribe.log(FULL)
        if when == RUNNING:
            hog.take()
            look_now(handler)
            scribe.log(2)
        else:
            handler.interrupts[when] = hog.take
            scribe.log(2)
    failed = bool(handler.failures or handler.reports)
    hog.free()
    said = scribe.said()
    look_now(handler)
    scribe.log(FULL)
    look_now(handler)
    scribe.log(FULL)
    handler.wait_for_upkeep()
    handler.close()
    late = handler.failures[len(said.failures) :], handler.reports[len(said.reports) :]
    assert late == ([], []), late
    return Outcome(
        left, scribe.logged, tuple(handler.failures), tuple(handler.reports), open_now() - before, failed
    )


def run(connection: Connection, folder: Path, limit: int, when: str, options: Dict[str, Any]) -> None:
    if hasattr(gc, "freeze"):  # what came from the parent need not be looked through again and again
        gc.freeze()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for left in range(MOST_LEFT + 1):
        (folder / str(left)).mkdir()
        connection.send(live_through(folder / str(left) / LIVE, left, when, options))


@pytest.mark.skipif(not PROC.is_dir(), reason="cannot see its own open files")
@pytest.mark.parametrize(
    ("locking", "keep_file_open", "limit"),
    [("atomic", True, 100), ("atomic", True, 300), ("exclusive", True, 100), ("exclusive", False, 100)],
    ids=["atomic", "atomic-more", "exclusive", "closed each time"],
)
@pytest.mark.parametrize(
    "when", [BEFORE, RUNNING, "shift", "open_epoch", "publish", "close_epoch", "choose", "copy", "seal"]
)
def test_without_descriptors_each_record_is_written_or_refused_and_afterwards_all_is_well(
    tmp_path: Path, children: Children, locking: str, limit: int, keep_file_open: bool, when: str
) -> None:
    options = {"locking": locking, "keep_file_open": keep_file_open}
    child = children.start(run, tmp_path, limit, when, options)
    outcomes: List[Outcome] = [child.answer() for _ in range(MOST_LEFT + 1)]
    assert child.ended() == 0
    assert [each.left for each in outcomes if each.leaked] == []
    for each in outcomes:
        folder = tmp_path / str(each.left)
        refused = {text.partition(": ")[0] for text in each.failures}
        told = [text for text in (*each.failures, *each.reports) if "the page cannot be written" not in text]
        assert all("Errno 24" in text or "(24," in text for text in told)
        assert bool(told) == bool(
            each.failures or each.reports
        )  # that it cannot be is told beside the reason
        names = {path.name for path in folder.iterdir()} - HELPERS
        rotations = len(names) - 1
        assert names == {LIVE, *(f"{LIVE}.{number}.gz" for number in range(1, rotations + 1))}
        content = b"".join(
            gzip.decompress((folder / f"{LIVE}.{number}.gz").read_bytes())
            for number in range(rotations, 0, -1)
        )
        content += (folder / LIVE).read_bytes()
        logged = [number for number in range(1, each.logged + 1) if even(1, number) not in refused]
        assert content == b"".join(line(even, 1, number) for number in logged), each
    assert not outcomes[-1].calls_that_failed
