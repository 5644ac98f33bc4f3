"""Two users share a log, or must not: at no moment is a file there that one of them cannot use, or that others can.

First step by step: after each system call of one user, the other one opens all that is there. Then at the same time, with a
third who does nothing but look.
"""

import contextlib
import functools
import gzip
import os
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from concurrent_log_handler import base
from concurrent_log_handler.cli.reckoning import Key, read_records
from support.children import Children
from support.folder import HELPERS, LIVE
from support.records import EVEN
from support.system import InterruptibleSystem
from support.writers import IDLE, Scribe, Watched, WatchedHandler

FULL = 3
GROUP = 54321

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])

if not hasattr(os, "geteuid") or os.geteuid() != 0:
    pytest.skip("takes several users", allow_module_level=True)


class User(NamedTuple):
    """Somebody, and the groups that he is in, of which the first is that of what he makes."""

    number: int
    groups: Tuple[int, ...]

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Have the rights of this user for a while, and afterwards those from before."""
        before = os.geteuid(), os.getegid(), os.getgroups()
        os.seteuid(0)
        os.setgroups(list(self.groups))
        os.setegid(self.groups[0])
        os.seteuid(self.number)
        try:
            yield
        finally:
            user, group, groups = before
            os.seteuid(0)
            os.setgroups(groups)
            os.setegid(group)
            os.seteuid(user)

    def become(self) -> None:
        """Be this user from now on."""
        os.setgroups(list(self.groups))
        os.setresgid(*(self.groups[:1] * 3))
        os.setresuid(*((self.number,) * 3))


ROOT, NOBODY = User(0, (0,)), User(65534, (65534,))
ONE, OTHER = User(65533, (65533, GROUP)), User(65532, (65532, GROUP))
MEMBER = User(65531, (65531, GROUP))


class Setup(NamedTuple):
    """Who shares a log, in what folder, by what arguments, and who else looks at it."""

    users: Tuple[User, User]
    watcher: User
    folder: Tuple[int, int, int]
    """Owner, group, mode."""
    options: Dict[str, Any]
    mode: int
    """Of all files of the log."""


SETUPS = {
    "open to all": Setup((ROOT, NOBODY), OTHER, (0, 0, 0o777), {"chmod": 0o666}, 0o666),
    "open by umask": Setup((ONE, NOBODY), OTHER, (0, 0, 0o777), {"umask": 0o000}, 0o666),
    "group": Setup((ONE, OTHER), MEMBER, (0, GROUP, 0o2770), {"chmod": 0o660}, 0o660),
    "group, root as well": Setup((ROOT, OTHER), MEMBER, (0, GROUP, 0o2770), {"chmod": 0o660}, 0o660),
    "owner": Setup(
        (ROOT, ROOT), MEMBER, (0, GROUP, 0o770), {"chmod": 0o660, "owner": (ONE.number, GROUP)}, 0o660
    ),
}
PRIVATE = {
    "chmod": Setup((ONE, ONE), OTHER, (0, 0, 0o777), {"chmod": 0o600}, 0o600),
    "umask": Setup((ONE, ONE), OTHER, (0, 0, 0o777), {"umask": 0o077}, 0o600),
    "owner": Setup(
        (ROOT, ROOT),
        OTHER,
        (0, 0, 0o777),
        {"chmod": 0o640, "owner": (NOBODY.number, NOBODY.groups[0])},
        0o640,
    ),
}
SHARED = (0o666, 0o660)
BOTH = [*SETUPS.items(), *((f"private by {name}", each) for name, each in PRIVATE.items())]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody can reach; the one that pytest makes is closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        folder = Path(directory) / "logs"
        folder.mkdir()
        yield folder


def prepare(folder: Path, setup: Setup) -> None:
    owner, group, mode = setup.folder
    os.chown(folder, owner, group)
    folder.chmod(mode)


def opens(path: Path, access: int) -> Optional[bool]:
    """Tell whether a file can be opened; None if it has gone meanwhile."""
    try:
        os.close(os.open(path, access | os.O_NOFOLLOW))
    except PermissionError:
        return False
    except FileNotFoundError:
        return None
    return True


def is_draft(name: str) -> bool:
    return name.endswith(".tmp")


def wrong_now(folder: Path, *, is_shared: bool) -> List[str]:
    """Return what this user finds in the folder that he should not: closed if he shares the log, else open."""
    wrong = []
    for name in os.listdir(folder):  # noqa: PTH208 - only names
        if not is_shared and opens(folder / name, os.O_RDONLY):
            wrong.append(f"can read {name}")
        elif not is_shared and opens(folder / name, os.O_WRONLY):
            wrong.append(f"can write {name}")
        elif is_shared and not is_draft(name) and opens(folder / name, os.O_RDWR) is False:
            wrong.append(f"cannot open {name}")
    return wrong


def records(folder: Path) -> Dict[Key, int]:
    found: List[Key] = []
    for each in folder.glob(f"{LIVE}*"):
        content = each.read_bytes()
        text = gzip.decompress(content) if each.suffix == ".gz" else content
        found += (key for _, key in read_records(text.splitlines(keepends=True)))
    return dict(Counter(found))


def modes(folder: Path, asked_for: int) -> Dict[int, List[str]]:
    """Return the files by their permissions; of the helpers, it is as asked for if no mere reader may open them."""
    found: Dict[int, List[str]] = {}
    for each in folder.iterdir():
        mode = each.lstat().st_mode & 0o7777
        if each.name in HELPERS and (mode, asked_for) == (0o600, 0o640):
            mode = asked_for
        found.setdefault(mode, []).append(each.name)
    return found


# ---------------------------------------------------------------------------------------------- step by step


class WatchedSystem(InterruptibleSystem):
    """Has somebody look after each call."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return super()._call(call, *args, **options)
        finally:
            self._look()


def live_through(
    folder: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch, umask: int, locking: str, system: type
) -> Tuple[List[str], List[Watched]]:
    """Have two users log by turns, each of whom rotates and compresses; return what the third found to be wrong."""
    prepare(folder, setup)
    wrong: List[str] = []

    def look() -> None:
        with setup.watcher.acting():
            wrong.extend(wrong_now(folder, is_shared=setup.mode in SHARED))

    watched = system(look)
    monkeypatch.setattr(base, "SYSTEM", watched)
    scribes = []
    umask_before = os.umask(umask)
    try:
        for number, user in enumerate(setup.users, 1):
            with user.acting():
                handler = WatchedHandler(
                    str(folder / LIVE),
                    maxBytes=FULL * EVEN,
                    backupCount=100,
                    use_gzip=True,
                    upkeep="inline",
                    locking=locking,
                    **setup.options,
                )
            scribes.append(Scribe(handler, number))
        for _ in range(2):
            for user, scribe in zip(setup.users, scribes):
                with user.acting():
                    scribe.log(FULL + 1)
                    scribe.handler.doRollover()
        for user, scribe in zip(setup.users, scribes):
            with user.acting():
                scribe.handler.close()
    finally:
        os.umask(umask_before)
    assert watched.calls > 300
    return wrong, [scribe.handler for scribe in scribes]


ONCE = {(writer, number): 1 for writer in (1, 2) for number in range(1, 2 * (FULL + 1) + 1)}


@pytest.mark.parametrize(
    ("locking", "umask"),
    [("atomic", 0o000), ("atomic", 0o077), ("exclusive", 0o077)],
    ids=["atomic-umask 0", "atomic-umask 077", "exclusive"],
)
@pytest.mark.parametrize("setup", [each for _, each in BOTH], ids=[name for name, _ in BOTH])
def test_after_each_system_call_of_one_the_files_are_open_to_whom_they_should_be_and_to_nobody_else(
    folder: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch, umask: int, locking: str
) -> None:
    wrong, handlers = live_through(folder, setup, monkeypatch, umask, locking, WatchedSystem)
    assert sorted(set(wrong)) == []
    assert [(each.failures, each.reports) for each in handlers] == [([], [])] * 2
    assert [each.num_rollovers > 1 for each in handlers] == [True] * 2
    assert records(folder) == ONCE
    found = modes(folder, setup.mode)
    assert list(found) == [setup.mode], found
    assert not any(map(is_draft, found[setup.mode]))


class WithoutHardLinks(WatchedSystem):
    """A file system that has permissions, and no second names."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(look)
        vars(self)["link"] = self._no_link

    def _no_link(self, source: str, target: str) -> bool:
        del source
        if os.path.lexists(target):
            raise FileExistsError(target)
        return False


@pytest.mark.parametrize("name", [f"private by {name}" for name in PRIVATE])
def test_nor_does_anybody_see_a_private_file_where_there_are_no_hard_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    setup = dict(BOTH)[name]
    wrong, handlers = live_through(folder, setup, monkeypatch, 0o077, "atomic", WithoutHardLinks)
    assert sorted(set(wrong)) == []
    assert [(each.failures, each.reports) for each in handlers] == [([], [])] * 2
    assert records(folder) == ONCE


# ------------------------------------------------------------------------------------------ at the same time


def watch(connection: Connection, folder: Path, user: User, mode: int) -> None:
    """Look at the folder all the time until told to stop; say what was wrong, and how often it was looked at."""
    user.become()
    wrong: List[str] = []
    looks = 0
    connection.send(None)
    gone = time.monotonic() + IDLE
    while not connection.poll() and time.monotonic() < gone:
        wrong += wrong_now(folder, is_shared=mode in SHARED)
        looks += 1
    connection.send((sorted(set(wrong)), looks))


def as_user(user: User, path: Path, process_umask: int, **options: Any) -> WatchedHandler:
    os.umask(process_umask)
    user.become()
    return WatchedHandler(str(path), maxBytes=FULL * EVEN, backupCount=1_000, use_gzip=True, **options)


@both_modes
@pytest.mark.parametrize("setup", [each for _, each in BOTH], ids=[name for name, _ in BOTH])
def test_two_users_rotate_and_compress_at_the_same_time_and_a_third_never_finds_a_file_he_should_not(
    folder: Path, children: Children, setup: Setup, locking: str
) -> None:
    prepare(folder, setup)
    count = 20 * FULL
    watcher = children.start(watch, folder, setup.watcher, setup.mode)
    watcher.answer()
    writers = [
        children.writer(
            functools.partial(as_user, user, folder / LIVE, umask, locking=locking, **setup.options), number
        )
        for number, (user, umask) in enumerate(zip(setup.users, (0o000, 0o077)), 1)
    ]
    for writer in writers:
        writer.tell(count)
    for writer in writers:
        writer.said()
    said = [writer.end() for writer in writers]
    watcher.tell(None)
    wrong, looks = watcher.answer()
    assert wrong == []
    assert looks > 0
    assert [each.faults for each in said] == [((), ())] * 2
    assert records(folder) == {(writer, number): 1 for writer in (1, 2) for number in range(1, count + 1)}
    found = modes(folder, setup.mode)
    assert list(found) == [setup.mode], found
    assert {name for name in found[setup.mode] if not name.startswith(LIVE)} == HELPERS
