"""What the model says of a deletion that was begun, tried with the code.

A rotation dies after it has sealed the oldest backup with length 0, and before it unlinks it. A writer that
still had that file open has been told by the ring that its record is not kept there, and has written it
again. So nobody may bring the old file back, with the record in it.
"""

import multiprocessing
import os
from pathlib import Path
from typing import Any, Callable

from support.folder import LIVE, contents
from support.records import even, lines
from support.writers import Scribe, WatchedHandler

STRAGGLER, COMPRESSOR = 1, 2


def in_a_child(deed: Callable[[Path], None], live: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=deed, args=(live,))
    child.start()
    child.join()
    assert child.exitcode == 0


def die(path: str) -> None:  # noqa: ARG001 - in the place of the system call
    os._exit(0)


def rotate_and_die_in_the_next_expiry(live: Path) -> None:
    handler = WatchedHandler(str(live), backupCount=1)
    handler.doRollover()
    handler._log.files.system.unlink = die  # type: ignore[method-assign]
    handler.doRollover()
    raise AssertionError("nothing has been deleted")


def compress(live: Path) -> None:
    scribe = Scribe(WatchedHandler(str(live), backupCount=1, use_gzip=True, upkeep="inline"), COMPRESSOR)
    scribe.log()
    scribe.handler.close()


def test_a_backup_whose_deletion_was_begun_is_not_brought_back(live: Path) -> None:
    scribe = Scribe(WatchedHandler(str(live), backupCount=1), STRAGGLER)
    scribe.log()
    log: Any = scribe.handler._log

    def write_late(fd: int, data: bytes) -> int:
        log._write = os.write
        in_a_child(rotate_and_die_in_the_next_expiry, live)
        return os.write(fd, data)

    log._write = write_late
    said = scribe.log()
    assert (said.failures, said.reports) == ((), ())
    assert contents(live.parent)[LIVE] == lines(even, STRAGGLER, [2])

    in_a_child(compress, live)
    found = contents(live.parent)
    assert found[LIVE] == lines(even, STRAGGLER, [2]) + lines(even, COMPRESSOR, [1])
    assert f"{LIVE}.1.gz" not in found, (
        "a file that was to be deleted, with a record that stands in the log as well"
    )
    assert f"{LIVE}.1" not in found
