"""Records with nothing in them, with all that others take for the end of a line, and far too large ones.

What single records become by `encoding`, `errors` and `newline` stands in `compat/test_text.py`.
"""

import logging
import threading
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest

from support.children import Child, Children
from support.folder import contents
from support.writers import WatchedHandler

Texts = Callable[[int, int], List[str]]

PROCESSES, THREADS = 3, 3
MB = 1_000_000
both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])

PIECES = [
    "", "\0", "\0" * 100, "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\x1a", "\x1b[2J", "\ufeff",
    "\ufffe", "\ud800", "\udfff", "a\udc80b", "\U0010ffff", "\u202e", "\r" * 50, " ", "[w01 #000001 00000000]",
]  # fmt: skip


def strange(process: int, thread: int) -> List[str]:
    """Return texts of one thread, the pieces alone (which other threads log as well) and between marks of its own."""
    marked = [f"<{process} {thread} {number} {piece * 3}>" for number, piece in enumerate(PIECES)]
    return [text for pair in zip(marked, PIECES) for text in pair]


def large(process: int, thread: int) -> List[str]:
    return [f"<{process} {thread} {number} {chr(97 + process) * MB}>" for number in range(2)]


def huge(process: int, thread: int) -> List[str]:
    """One process logs the huge record, the others small ones all the time that it takes."""
    if process:
        return [f"<{process} {thread} {number}>" for number in range(200)]
    return [f"<0 {thread} {chr(97 + thread) * 50 * MB}>"] if not thread else ["<0 after>"]


def work(connection: Connection, path: Path, process: int, texts: Texts, options: Dict[str, Any]) -> None:
    """Log in several threads; say what went wrong."""
    handler = WatchedHandler(
        str(path), encoding="utf-8", errors="surrogatepass", backupCount=100_000, **options
    )

    def log(thread: int) -> None:
        for text in texts(process, thread):
            handler.handle(logging.makeLogRecord({"msg": text}))

    threads = [threading.Thread(target=log, args=(number,)) for number in range(THREADS)]
    connection.send(None)
    connection.recv()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    handler.close()
    connection.send((handler.failures, handler.reports))


def log_all(children: Children, live: Path, texts: Texts, **options: Any) -> Dict[str, bytes]:
    """Log in several processes at the same time; return the files, once it is found that nobody complains."""
    workers: Sequence[Child] = [
        children.start(work, live, number, texts, options) for number in range(PROCESSES)
    ]
    for each in workers:
        each.answer()
    for each in workers:
        each.tell(None)
    assert [each.answer() for each in workers] == [([], [])] * PROCESSES
    assert [each.ended() for each in workers] == [0] * PROCESSES
    return contents(live.parent)


def assert_whole_and_once(files: Dict[str, bytes], texts: Texts) -> None:
    assert {content[-1:] for content in files.values()} <= {b"\n", b""}
    found = Counter(each for content in files.values() for each in content.split(b"\n")[:-1])
    logged = Counter(
        text.encode("utf-8", "surrogatepass")
        for process in range(PROCESSES)
        for thread in range(THREADS)
        for text in texts(process, thread)
    )
    missing, strangers = logged - found, found - logged
    assert [each[:50] for each in missing] == []
    assert [each[:50] for each in strangers] == []


@both_modes
def test_records_with_all_that_may_end_a_line_stay_whole_and_on_lines_of_their_own(
    live: Path, children: Children, locking: str
) -> None:
    files = log_all(children, live, strange, locking=locking, maxBytes=300)
    assert_whole_and_once(files, strange)
    assert len(files) > 3


@both_modes
def test_records_of_a_megabyte_stay_whole(live: Path, children: Children, locking: str) -> None:
    files = log_all(children, live, large, locking=locking, maxBytes=2 * MB)
    assert_whole_and_once(files, large)
    assert len(files) > 1


@both_modes
def test_a_record_of_fifty_megabytes_stays_whole_among_small_ones(
    live: Path, children: Children, locking: str
) -> None:
    files = log_all(children, live, huge, locking=locking, maxBytes=2_000)
    assert_whole_and_once(files, huge)
    assert len(files) > 3
