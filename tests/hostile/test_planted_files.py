"""Others, and other users, have put something in place before the log is there, or while it is written.

A directory in which everybody may make files and only owners remove them, such as `/tmp`, is where a stranger can
plant what stands at the names of a log. The kernel's own guards (`fs.protected_symlinks` and its like) are not counted on.
"""

import contextlib
import fcntl
import functools
import gzip
import itertools
import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import pytest

from concurrent_log_handler import base, state
from concurrent_log_handler.state import EXCLUSIVE, MODE_OFFSET, new_page
from hostile.surroundings import Found, Precious, look_at
from support import children as waits
from support.children import Children
from support.clock import HOUR, Clock, Jumping
from support.folder import LIVE, LOCK, PAGE, dated
from support.records import EVEN, even, line
from support.system import use_interruptible_system
from support.writers import IDLE, Said, Scribe, Watched, WatchedHandler

STRANGER, OTHER = 65534, 65533
FULL = 3
ALL = 4 * FULL
FEW, MANY = 2, 9
"""Old files to keep."""
COMPRESSING: Dict[str, Any] = {"use_gzip": True, "upkeep": "inline", "chmod": 0o600}

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
users = pytest.mark.parametrize("user", [0, OTHER], ids=["root", "user"])

if not hasattr(os, "geteuid") or os.geteuid() != 0:
    pytest.skip("takes several users", allow_module_level=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not happened within some seconds here hangs."""
    monkeypatch.setattr(waits, "LONG", 10.0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody can reach; the one that pytest makes is closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        (path / "logs").mkdir()
        yield path / "logs"


@pytest.fixture
def live(folder: Path) -> Path:
    return folder / LIVE


@pytest.fixture
def precious(folder: Path) -> Precious:
    return Precious(folder.parent / "precious")


def as_user(user: int, path: Path, **options: Any) -> WatchedHandler:
    """Become a user, for good, and make a handler."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    return WatchedHandler(str(path), maxBytes=FULL * EVEN, backupCount=100_000, chmod=0o600, **options)


def log_as(children: Children, user: int, live: Path, locking: str, **options: Any) -> Said:
    writer = children.writer(functools.partial(as_user, user, live, locking=locking, **options))
    writer.log(ALL)
    return writer.end()


def give(path: Path, user: int) -> None:
    os.chown(path, user, user, follow_symlinks=False)


def names_the_owner(text: str) -> bool:
    return str(STRANGER) in text or "nobody" in text


# ------------------------------------------------------------------------------ the helpers of another user


@users
@both_modes
@pytest.mark.parametrize("mode", [0o666, 0o600])
@pytest.mark.parametrize("helpers", [(LOCK,), (PAGE,), (LOCK, PAGE)], ids=["lock", "page", "both"])
def test_helpers_that_a_stranger_has_planted_hold_up_nobody_and_are_told_of(
    children: Children,
    live: Path,
    found: Found,
    user: int,
    locking: str,
    mode: int,
    helpers: Tuple[str, ...],
) -> None:
    """Who can lock a file of his own for ever must not be able to stop those who would wait for it."""
    live.parent.chmod(0o1777)
    planted = bytearray(new_page(has_predecessor=False, log_was_there=False))
    planted[MODE_OFFSET] = EXCLUSIVE
    held = []
    for name in helpers:
        path = live.with_name(name)
        path.write_bytes(bytes(planted) if name == PAGE else b"")
        path.chmod(mode)
        give(path, STRANGER)
        held.append(os.open(path, os.O_RDWR))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
    before = [look_at(live.with_name(name)) for name in helpers]
    try:
        said = log_as(children, user, live, locking)
    finally:
        for fd in held:
            os.close(fd)
    assert said.failures == ()
    assert found() == {(1, number): 1 for number in range(1, ALL + 1)}
    assert [look_at(live.with_name(name)) for name in helpers] == before
    for name in helpers[:1]:  # without a lock nobody asks for the page
        told = [each for each in said.reports if str(live.with_name(name)) in each]
        assert told, said.reports
        assert (user != 0 and mode == 0o600) or all(map(names_the_owner, told)), told


@users
@both_modes
@pytest.mark.parametrize("helper", [LOCK, PAGE])
def test_helpers_that_the_owner_of_the_directory_has_made_are_used(
    children: Children, live: Path, found: Found, user: int, locking: str, helper: str
) -> None:
    """He could exchange them at any time anyway; and a root that has prepared the place is no stranger."""
    live.parent.chmod(0o1777)
    path = live.with_name(helper)
    path.write_bytes(new_page(has_predecessor=False, log_was_there=False) if helper == PAGE else b"")
    path.chmod(0o666)
    said = log_as(children, user, live, locking)
    assert said.faults == ((), ())
    assert found() == {(1, number): 1 for number in range(1, ALL + 1)}
    assert said.rotations == ALL // FULL - 1


@both_modes
def test_no_helper_is_made_behind_a_link_that_is_planted_between_two_calls(
    live: Path, precious: Precious, found: Found, locking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who is quick gets no file made where he may not make one himself."""
    monkeypatch.setattr(state, "SURVEY", 0.001)
    monkeypatch.setattr(base, "SYSTEM", base.SYSTEM)  # and back in the end
    system = use_interruptible_system()
    made_elsewhere: List[int] = []
    refused: List[int] = []
    for calls in itertools.count():
        for each in live.parent.iterdir():
            each.unlink()
        planted: List[Path] = []

        def plant(planted: List[Path] = planted) -> None:
            for name in (LOCK, PAGE):
                path = live.with_name(name)
                if not os.path.lexists(path):
                    path.symlink_to(precious.nowhere)
                    planted.append(path)

        handler = WatchedHandler(str(live), maxBytes=FULL * EVEN, backupCount=9, locking=locking)
        scribe = Scribe(handler, 1)
        system.interrupt(plant, calls)
        scribe.log(2)
        handler.close()
        if not precious.is_untouched():
            made_elsewhere.append(calls)
            precious.nowhere.unlink()
        if handler.failures or found() != {(1, 1): 1, (1, 2): 1}:
            refused.append(calls)
        if not planted:  # both are there by now
            break
    assert calls > 10
    assert (made_elsewhere, refused) == ([], [])


def hold(connection: Connection, user: int, paths: Sequence[Path]) -> None:
    """Become a user, lock all that can be opened, and keep it so."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    for path in paths:
        with contextlib.suppress(PermissionError):
            fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
    connection.send(None)
    connection.poll(IDLE)


@both_modes
def test_who_may_read_the_files_of_a_log_cannot_stop_those_who_write_to_it(
    children: Children, live: Path, found: Found, locking: str
) -> None:
    """A lock is had by whoever can open its file, if only to read."""
    umask = os.umask(0o022)
    writer = children.writer(
        functools.partial(WatchedHandler, str(live), maxBytes=FULL * EVEN, backupCount=9, locking=locking)
    )
    os.umask(umask)
    writer.log()
    holder = children.start(hold, STRANGER, [live.with_name(LOCK), live.with_name(PAGE)])
    holder.answer()
    said = writer.log(ALL)
    assert (said.faults, said.rotations) == (((), ()), ALL // FULL)
    assert found() == {(1, number): 1 for number in range(1, ALL + 2)}


# ------------------------------------------------------------------------------- the live file of another user

LIVES: Dict[str, Callable[[Path, Precious], None]] = {
    "file": lambda path, _: path.touch(),
    "pipe": lambda path, _: os.mkfifo(path),
    "link to a file": lambda path, precious: path.symlink_to(precious.path),
    "link to nothing": lambda path, precious: path.symlink_to(precious.nowhere),
}


@users
@both_modes
@pytest.mark.parametrize("what", list(LIVES))
def test_a_live_file_that_a_stranger_has_planted_is_refused_and_each_record_tells_why(
    children: Children, live: Path, precious: Precious, user: int, locking: str, what: str
) -> None:
    """The kernel does the same for who opens a file with `O_CREAT`, as all other handlers do."""
    live.parent.chmod(0o1777)
    give(precious.path, user)
    precious = Precious(precious.path)
    precious.path.parent.chmod(0o777)  # so that nothing else keeps a file from being made there
    LIVES[what](live, precious)
    if what in ("file", "pipe"):
        live.chmod(0o666)
    give(live, STRANGER)
    said = log_as(children, user, live, locking, owner=(user, user))
    assert precious.is_untouched()
    assert what != "file" or live.read_bytes() == b""
    assert [each.partition(":")[0] for each in said.failures] == [
        even(1, number) for number in range(1, ALL + 1)
    ]
    assert [each for each in said.failures if not names_the_owner(each)] == []


@pytest.mark.parametrize("what", ["link to a file", "link to nothing"])
@both_modes
def test_a_link_of_the_user_whose_folder_it_is_leads_root_nowhere(
    children: Children, live: Path, precious: Precious, locking: str, what: str
) -> None:
    """A server that is started by root logs into a folder of the user that it becomes later."""
    give(live.parent, STRANGER)
    LIVES[what](live, precious)
    give(live, STRANGER)
    writer = children.writer(functools.partial(as_user, 0, live, locking=locking, owner=(STRANGER, STRANGER)))
    writer.log()
    assert precious.is_untouched()


@both_modes
@pytest.mark.parametrize("owner", [0, STRANGER], ids=["of root", "of the owner of the file"])
def test_a_link_that_no_stranger_has_made_is_followed(
    children: Children, live: Path, precious: Precious, locking: str, owner: int
) -> None:
    give(live.parent, STRANGER)
    give(precious.path, STRANGER)
    live.symlink_to(precious.path)
    give(live, owner)
    said = children.writer(
        functools.partial(as_user, 0, live, locking=locking, owner=(STRANGER, STRANGER))
    ).log(1)
    assert said.faults == ((), ())
    assert precious.path.read_bytes() == b"precious\n" + line(even, 1, 1)


# ------------------------------------------------------------------------------------- drafts and backups

DRAFTS = (".__app.0000000000000000.tmp", ".__app.0123456789abcdef.tmp")
THINGS: Dict[str, Callable[[Path, Precious], None]] = {
    "file": lambda path, _: path.touch(),
    "second name of a file": lambda path, precious: os.link(precious.path, path),
    "directory": lambda path, _: path.mkdir(),
    "pipe": lambda path, _: os.mkfifo(path),
    "link to a file": lambda path, precious: path.symlink_to(precious.path),
    "link to nothing": lambda path, precious: path.symlink_to(precious.nowhere),
    "link to the log": lambda path, _: path.symlink_to(LIVE),
    "link to itself": lambda path, _: path.symlink_to(path.name),
}
all_things = pytest.mark.parametrize("thing", list(THINGS))


@all_things
@both_modes
@pytest.mark.parametrize("user", [0, OTHER], ids=["own", "of a stranger"])
def test_planted_drafts_are_removed_or_left_and_never_written_to(
    children: Children, live: Path, precious: Precious, found: Found, user: int, locking: str, thing: str
) -> None:
    for name in DRAFTS:
        THINGS[thing](live.with_name(name), precious)
        if thing != "second name of a file":
            give(live.with_name(name), user and STRANGER)
    live.parent.chmod(0o1777)
    before = {name: live.with_name(name).lstat() for name in DRAFTS}
    said = log_as(children, user, live, locking)
    assert said.faults == ((), ())
    assert said.rotations == ALL // FULL - 1
    assert found() == {(1, number): 1 for number in range(1, ALL + 1)}
    assert precious.is_untouched()
    left = {name for name in DRAFTS if os.path.lexists(live.with_name(name))}
    assert left == (set(DRAFTS) if user or thing == "directory" else set())
    assert [name for name in left if not os.path.samestat(before[name], live.with_name(name).lstat())] == []
    others = {each.name for each in live.parent.iterdir()} - left
    assert others == {LIVE, LOCK, PAGE, *(f"{LIVE}.{number}" for number in range(1, ALL // FULL))}


def assert_all_is_there(handler: Watched, live: Path, precious: Precious, keep: int) -> None:
    """Close the handler; see that only the oldest of its records have gone, and only where fewer may be kept."""
    handler.close()
    assert (handler.failures, precious.is_untouched()) == ([], True)
    found: List[bytes] = []
    for each in live.parent.glob(f"{LIVE}*"):
        if each.is_file() and not each.is_symlink():
            content = each.read_bytes()
            compressed = each.suffix == ".gz" and content.startswith(b"\x1f\x8b")
            found += (gzip.decompress(content) if compressed else content).splitlines(keepends=True)
    ours = [each for each in found if each != b"precious\n"]
    logged = [line(even, 1, number) for number in range(1, ALL + 1)]
    assert sorted(ours) == (logged if keep == MANY else logged[-len(ours) :])
    assert len(ours) > FULL


@all_things
@both_modes
@pytest.mark.parametrize("keep", [FEW, MANY])
@pytest.mark.parametrize("name", [f"{LIVE}.1", f"{LIVE}.2", f"{LIVE}.1.gz"])
def test_what_stands_at_the_name_of_a_backup_is_never_written_through(
    live: Path, precious: Precious, locking: str, thing: str, keep: int, name: str
) -> None:
    THINGS[thing](live.with_name(name), precious)
    handler = WatchedHandler(
        str(live), maxBytes=FULL * EVEN, backupCount=keep, locking=locking, **COMPRESSING
    )
    Scribe(handler, 1).log(ALL)
    assert_all_is_there(handler, live, precious, keep)


@all_things
@both_modes
@pytest.mark.parametrize("keep", [FEW, MANY])
@pytest.mark.parametrize(("period", "ending"), [(0, ""), (0, ".gz"), (0, ".1"), (1, ".1.gz")])
def test_what_stands_at_the_name_of_a_period_is_never_written_through(
    live: Path, precious: Precious, locking: str, thing: str, keep: int, period: int, ending: str
) -> None:
    clock = Clock()
    planted = live.with_name(dated(clock() + period * HOUR) + ending)
    THINGS[thing](planted, precious)
    by_both: Dict[str, Any] = {"when": "H", "utc": True, "maxBytes": 2 * EVEN}
    handler = Jumping(str(live), clock=clock, locking=locking, backupCount=keep, **by_both, **COMPRESSING)
    scribe = Scribe(handler, 1)
    for _ in range(ALL // FULL):  # the third record of each period goes into a file of its own
        scribe.log(FULL)
        clock.advance(HOUR)
    assert_all_is_there(handler, live, precious, keep)
