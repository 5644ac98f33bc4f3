"""Lock file and page hold something else, or are something else: before the first record, and between two.

That they are deleted, emptied or overwritten while several processes write stands in `processes/test_external_changes.py`.
"""

import os
import random
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, Type

import pytest

from concurrent_log_handler import state, upkeep
from concurrent_log_handler.state import BORN_OFFSET, MODE_OFFSET, PAGE_SIZE, ROTATIONS_OFFSET, Page, new_page
from hostile.surroundings import Found, Precious
from support import children
from support.children import until
from support.folder import LOCK, PAGE
from support.records import EVEN
from support.writers import Scribe, Watched, WatchedHandler, WatchedTimedHandler

Plant = Callable[[Path, Precious], None]

FULL = 3
both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
both_moments = pytest.mark.parametrize("running", [False, True], ids=["before", "running"])

if not hasattr(os, "mkfifo"):
    pytest.skip("there are no such things", allow_module_level=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has an older page here, so nobody has to be waited for; and what does not come soon, never does."""
    monkeypatch.setattr(state, "SURVEY", 0.001)
    monkeypatch.setattr(children, "LONG", 0.5)


def look_now(handler: Watched) -> None:
    """Have the next record look around, and try what failed a moment ago, as it would a second later."""
    handler._log._survey_at = handler._log.files._blocked_until = float("-inf")
    handler._log.end_lease()
    if handler._log._appender is not None:
        handler._log._appender.look_again()


def rotates(scribe: Scribe) -> bool:
    """Log, looking around, as many records as fill a file; return whether it was rotated."""
    before = scribe.handler.num_rollovers
    for _ in range(FULL + 1):
        look_now(scribe.handler)
        scribe.log()
    return scribe.handler.num_rollovers > before


def begin(
    kind: Type[Watched], live: Path, locking: str, running: bool, plant: Callable[[], None]
) -> Tuple[Scribe, List[str]]:
    """Plant something before the first record or after some; log more, looking around and not.

    Returns who logs, and what was reported by then.
    """
    options: Dict[str, Any] = {"when": "H"} if kind is WatchedTimedHandler else {}
    if not running:
        plant()
    handler = kind(
        str(live), maxBytes=FULL * EVEN, backupCount=100_000, locking=locking, chmod=0o600, **options
    )
    scribe = Scribe(handler, 1)
    scribe.log(FULL)
    if running:
        scribe.log(FULL)
        plant()
        scribe.log(2 * FULL)
    rotates(scribe)
    return scribe, list(handler.reports)


def once(scribe: Scribe) -> Dict[Tuple[int, int], int]:
    """Return what has to be found: each record once."""
    return {(1, number): 1 for number in range(1, scribe.logged + 1)}


# ------------------------------------------------------------------------------------------- what they may hold

NEW = new_page(has_predecessor=False, log_was_there=False)
HEAD = NEW[:MODE_OFFSET]
NOISE = random.Random(6)  # noqa: S311 - nothing secret
SPARSE = 1 << 40
LARGEST = 16 * (1 << 40) - 4096  # on ext4; others allow more


def with_number(offset: int, number: int) -> bytes:
    return NEW[:offset] + number.to_bytes(8, "little") + NEW[offset + 8 :]


CONTENTS: Dict[str, Tuple[bytes, int]] = {
    "empty": (b"", 0),
    "noise": (bytes(NOISE.getrandbits(8) for _ in range(5_000)), 5_000),
    "text": (b"not a page\n" * 500, 5_500),
    "cut": (NEW, 100),
    "a byte too short": (NEW, PAGE_SIZE - 1),
    "in the middle of a change": (NEW, PAGE_SIZE + 1),
    "a head, then zeros": (HEAD, PAGE_SIZE),
    "a head, then ones": (HEAD.ljust(PAGE_SIZE, b"\xff"), PAGE_SIZE),
    "a head, then noise": (HEAD + bytes(NOISE.getrandbits(8) for _ in range(PAGE_SIZE)), PAGE_SIZE),
    "a mode that there is not": (with_number(MODE_OFFSET, 7), PAGE_SIZE),
    "as many rotations as can be": (with_number(ROTATIONS_OFFSET, 2**64 - 1), PAGE_SIZE),
    "made in the future": (with_number(BORN_OFFSET, 2**64 - 1), PAGE_SIZE),
    "only zeros, huge": (b"", SPARSE),
    "huge": (NEW, SPARSE),
    "huge, in the middle of a change": (NEW, SPARSE + 1),
    "as large as can be": (NEW, LARGEST),
    "as large as can be, in the middle of a change": (NEW, LARGEST - 1),
}
OF_A_LOCK = ("empty", "noise", "text", "only zeros, huge", "as large as can be")


def plant_content(path: Path, name: str) -> None:
    """Write it into the file that is there, as whoever does that by mistake."""
    content, size = CONTENTS[name]
    path.write_bytes(content)
    os.truncate(path, size)


@both_modes
@both_moments
@pytest.mark.parametrize("content", list(CONTENTS))
def test_whatever_the_page_holds_each_record_is_kept_and_the_log_is_rotated(
    live: Path, found: Found, locking: str, running: bool, content: str
) -> None:
    scribe, reports = begin(
        WatchedHandler, live, locking, running, lambda: plant_content(live.with_name(PAGE), content)
    )
    assert (scribe.handler.failures, reports) == ([], [])
    until(lambda: rotates(scribe), "rotation")
    scribe.handler.close()
    assert (scribe.handler.failures, scribe.handler.reports) == ([], [])
    assert found() == once(scribe)
    assert {each.name for each in live.parent.iterdir() if not each.name.startswith("app.log")} == {
        LOCK,
        PAGE,
    }


@pytest.mark.parametrize("has_predecessor", [False, True])
def test_a_page_from_before_the_host_was_booted_holds_up_nothing(
    live: Path, monkeypatch: pytest.MonkeyPatch, has_predecessor: bool
) -> None:
    """Its times are those of a clock that has begun anew."""
    monkeypatch.setattr(upkeep, "PATIENCE", 0.01)
    with monkeypatch.context() as before_booting:
        later = state.monotonic_ns() + 10 * 86_400 * 10**9
        before_booting.setattr(state, "monotonic_ns", lambda: later)
        live.with_name(PAGE).write_bytes(new_page(has_predecessor=has_predecessor, log_was_there=True))
    handler = WatchedHandler(
        str(live), maxBytes=FULL * EVEN, backupCount=9, use_gzip=True, upkeep="inline", locking="atomic"
    )
    scribe = Scribe(handler, 1)
    scribe.log(FULL)

    def is_compressed() -> bool:
        rotates(scribe)
        return live.with_name("app.log.2.gz").exists()

    try:
        until(is_compressed, "rotation and compression")
    finally:
        handler.close()
    assert (handler.failures, handler.reports) == ([], [])


@both_modes
@both_moments
@pytest.mark.parametrize("content", OF_A_LOCK)
@pytest.mark.parametrize("kind", [WatchedHandler, WatchedTimedHandler], ids=["size", "time"])
def test_whatever_the_lock_file_holds_each_record_is_kept_and_the_log_is_rotated(
    live: Path, found: Found, kind: Type[Watched], locking: str, running: bool, content: str
) -> None:
    scribe, _ = begin(kind, live, locking, running, lambda: plant_content(live.with_name(LOCK), content))
    until(lambda: rotates(scribe), "rotation")
    scribe.handler.close()
    assert scribe.handler.failures == []
    assert [each.partition(":")[0] for each in scribe.handler.reports] == (
        []
        if kind is WatchedHandler
        else ["the rollover time in the lock file is not usable, a new one has been computed"]
    )
    assert found() == once(scribe)
    if kind is WatchedTimedHandler:
        assert live.with_name(LOCK).read_bytes().isdigit()


# --------------------------------------------------------------------------------------------- what they may be


def device(number: int) -> Plant:
    def plant(path: Path, _: Precious) -> None:
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, number))
        except PermissionError:
            pytest.skip("may not make devices")

    return plant


def plant_socket(path: Path, _: Precious) -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")  # an address has room for a hundred bytes
        Path(short, "socket").rename(path)


OBSTACLES: Dict[str, Plant] = {
    "directory": lambda path, _: path.mkdir(),
    "link to a file": lambda path, precious: path.symlink_to(precious.path),
    "link to nothing": lambda path, precious: path.symlink_to(precious.nowhere),
    "link to itself": lambda path, _: path.symlink_to(path.name),
    "second name of a file": lambda path, precious: os.link(precious.path, path),
    "pipe": lambda path, _: os.mkfifo(path),
    "socket": plant_socket,
    "device": device(3),
    "full device": device(7),
}
NOT_TO_BE_TOUCHED = ("directory", "link to a file", "link to nothing", "link to itself")


@both_modes
@both_moments
@pytest.mark.parametrize("obstacle", list(OBSTACLES))
@pytest.mark.parametrize(
    ("helper", "kind"),
    [(LOCK, WatchedHandler), (LOCK, WatchedTimedHandler), (PAGE, WatchedHandler)],
    ids=["lock", "lock-timed", "page"],
)
def test_what_stands_in_the_place_of_a_helper_costs_no_record_and_is_told_by_its_name(
    live: Path,
    found: Found,
    precious: Precious,
    helper: str,
    kind: Type[Watched],
    locking: str,
    running: bool,
    obstacle: str,
) -> None:
    path = live.with_name(helper)

    def plant() -> None:
        if os.path.lexists(path):
            path.unlink()
        OBSTACLES[obstacle](path, precious)

    scribe, reports = begin(kind, live, locking, running, plant)
    planted = path.lstat()
    if obstacle in NOT_TO_BE_TOUCHED:
        assert stat.S_IFMT(planted.st_mode) in (stat.S_IFDIR, stat.S_IFLNK)
    assert precious.is_untouched()
    assert scribe.handler.failures == []
    assert found() == once(scribe)
    names = {LOCK: ("the lock file", str(path)), PAGE: ("the page", str(path))}[helper]
    assert [each for each in reports if not any(name in each for name in names)] == []
    assert len(reports) <= 2

    # Once it has gone, all is as ever.
    path.rmdir() if obstacle == "directory" else path.unlink()
    until(lambda: rotates(scribe), "rotation")
    scribe.handler.close()
    assert (scribe.handler.failures, found()) == ([], once(scribe))
    assert precious.is_untouched()
    assert Page.open(scribe.handler._log._system, str(live.with_name(PAGE))).writable
    assert stat.S_ISREG(live.with_name(LOCK).lstat().st_mode)
