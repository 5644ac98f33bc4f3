"""The files that a log leaves behind: names, sizes, contents, owners and permissions, and what is left alone."""

import logging
import os
import random
import stat
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from support.folder import HELPERS, contents

Make = Callable[..., ConcurrentRotatingFileHandler]

NOBODY = 65534
PROC = Path("/proc/self/fd")

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make handlers, of `app.log` as a rule, which are closed in the end."""
    made: List[ConcurrentRotatingFileHandler] = []

    def make_one(name: str = "app.log", **arguments: Any) -> ConcurrentRotatingFileHandler:
        made.append(ConcurrentRotatingFileHandler(tmp_path / name, **arguments))
        return made[-1]

    yield make_one
    for handler in made:
        handler.close()


def log(handler: ConcurrentRotatingFileHandler, *texts: str) -> None:
    for text in texts:
        handler.handle(logging.makeLogRecord({"msg": text}))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def _umask_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise AssertionError("all threads share the umask")

    monkeypatch.setattr(os, "umask", refuse)


# ------------------------------------------------------------------------------------------ names and sizes


def files_of_0_9_31(texts: List[str], max_bytes: int, backup_count: int) -> Dict[str, bytes]:
    """Return what 0.9.31 leaves of these records: the size is looked at before each, its own does not count."""
    files = [b""]
    for text in texts:
        if 0 < max_bytes <= len(files[0]):
            files.insert(0, b"")
            del files[backup_count + 1 :]
        files[0] += text.encode() + b"\n"
    return {f"app.log.{number}" if number else "app.log": content for number, content in enumerate(files)}


@both_modes
@pytest.mark.parametrize("max_bytes", [0, 1, 2, 40, 41, 100, 1000])
@pytest.mark.parametrize("backup_count", [0, 1, 2, 7, 99_999])
def test_names_and_sizes_are_those_of_0_9_31(
    make: Make, tmp_path: Path, locking: str, max_bytes: int, backup_count: int
) -> None:
    draw = random.Random(f"{max_bytes} {backup_count}")  # noqa: S311 - the same each time
    texts = [f"{number} " + "x" * draw.choice([0, 1, 17, 37, 38, 200]) for number in range(30)]
    handler = make(maxBytes=max_bytes, backupCount=backup_count, locking=locking)
    log(handler, *texts)
    expected = files_of_0_9_31(texts, max_bytes, backup_count)
    assert contents(tmp_path) == expected
    if backup_count > len(texts):
        assert handler.num_rollovers == len(expected) - 1


@both_modes
def test_a_log_that_was_full_before_is_rotated_before_the_first_record(
    make: Make, tmp_path: Path, locking: str
) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    (tmp_path / "app.log.1").write_bytes(b"older\n")
    log(make(maxBytes=4, backupCount=3, locking=locking), "new")
    assert contents(tmp_path) == {"app.log": b"new\n", "app.log.1": b"old\n", "app.log.2": b"older\n"}


@both_modes
def test_without_backups_nothing_is_kept(make: Make, tmp_path: Path, locking: str) -> None:
    (tmp_path / "app.log.1").write_bytes(b"of other times\n")
    handler = make(maxBytes=8, backupCount=0, locking=locking)
    log(handler, "one", "two", "three")
    assert contents(tmp_path) == {"app.log": b"three\n", "app.log.1": b"of other times\n"}
    assert handler.num_rollovers == 1


@both_modes
def test_a_gap_in_the_numbers_takes_up_the_shift(make: Make, tmp_path: Path, locking: str) -> None:
    for number in (1, 2, 4):
        (tmp_path / f"app.log.{number}").write_bytes(b"%d\n" % number)
    log(make(maxBytes=1, backupCount=9, locking=locking), "five", "six")
    assert contents(tmp_path) == {
        "app.log": b"six\n",
        "app.log.1": b"five\n",
        "app.log.2": b"1\n",
        "app.log.3": b"2\n",
        "app.log.4": b"4\n",
    }


@both_modes
def test_backups_that_are_past_the_count_stay(make: Make, tmp_path: Path, locking: str) -> None:
    """As 0.9.x and the standard library have it: who lowers `backupCount` removes the rest by hand."""
    for number in range(1, 6):
        (tmp_path / f"app.log.{number}").write_bytes(b"%d\n" % number)
    log(make(maxBytes=1, backupCount=2, locking=locking), "a", "b", "c")
    assert contents(tmp_path) == {
        "app.log": b"c\n",
        "app.log.1": b"b\n",
        "app.log.2": b"a\n",
        "app.log.3": b"3\n",
        "app.log.4": b"4\n",
        "app.log.5": b"5\n",
    }


@pytest.mark.parametrize(
    ("name", "helpers"),
    [
        ("app.log", ".__app"),
        ("app", ".__app"),
        ("app.txt", ".__app.txt"),
        ("app.log.txt", ".__app.log.txt"),
        ("app.LOG", ".__app.LOG"),
        (".log", ".__"),
        ("a b \N{SNOWMAN}.log", ".__a b \N{SNOWMAN}"),
        ("%s{}[1-9]*.log", ".__%s{}[1-9]*"),
        ("two\nlines.log", ".__two\nlines"),
        ("x" * 246 + ".log", ".__" + "x" * 246),  # the longest whose page still has a name
    ],
)
def test_the_lock_and_the_page_are_named_after_the_log(
    make: Make, tmp_path: Path, name: str, helpers: str
) -> None:
    handler = make(name, maxBytes=1, backupCount=1)
    log(handler, "one", "two", "three")
    files = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert set(files) == {name, f"{name}.1", f"{helpers}.lock", f"{helpers}.state"}
    assert (files[name], files[f"{name}.1"], files[f"{helpers}.lock"]) == (b"three\n", b"two\n", b"")
    assert handler.lockFilename == str(tmp_path / f"{helpers}.lock")
    assert handler.baseLockFilename(str(tmp_path / name)) == (str(tmp_path), f"{helpers}.lock")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text there")
def test_a_name_may_hold_bytes_that_are_no_text(make: Make, tmp_path: Path) -> None:
    log(make(os.fsdecode(b"app\xff.log"), maxBytes=1, backupCount=1), "one", "two")
    assert {os.fsencode(each.name) for each in tmp_path.iterdir()} == {
        b"app\xff.log",
        b"app\xff.log.1",
        b".__app\xff.lock",
        b".__app\xff.state",
    }


@both_modes
def test_two_logs_whose_helpers_have_one_name_get_along(make: Make, tmp_path: Path, locking: str) -> None:
    first, second = (make(name, maxBytes=1, backupCount=2, locking=locking) for name in ("app", "app.log"))
    for number in range(4):
        log(first, f"first {number}")
        log(second, f"second {number}")
    assert contents(tmp_path) == {
        f"{name}{suffix}": b"%s %d\n" % (text, number)
        for name, text in (("app", b"first"), ("app.log", b"second"))
        for suffix, number in (("", 3), (".1", 2), (".2", 1))
    }


@both_modes
@pytest.mark.parametrize("below", ["locks", "not/yet/there"])
def test_the_helpers_live_where_they_are_asked_to(
    make: Make, tmp_path: Path, locking: str, below: str
) -> None:
    (tmp_path / "logs").mkdir()
    directory = tmp_path / below
    handler = make("logs/app.log", maxBytes=1, backupCount=1, lock_file_directory=directory, locking=locking)
    assert directory.is_dir()
    assert list(directory.iterdir()) == []
    log(handler, "one", "two", "three")
    assert {each.name for each in directory.iterdir()} == HELPERS
    assert {each.name: each.read_bytes() for each in (tmp_path / "logs").iterdir()} == {
        "app.log": b"three\n",
        "app.log.1": b"two\n",
    }


@both_modes
def test_rotating_by_hand_minds_no_size(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(backupCount=2, locking=locking)
    log(handler, "one")
    handler.doRollover()
    log(handler, "two")
    handler.doRollover()
    assert contents(tmp_path) == {"app.log": b"", "app.log.1": b"two\n", "app.log.2": b"one\n"}
    handler.backupCount = 0
    log(handler, "three")
    handler.doRollover()
    assert contents(tmp_path) == {"app.log": b"", "app.log.1": b"two\n", "app.log.2": b"one\n"}
    assert handler.num_rollovers == 3


@both_modes
def test_rotating_by_hand_before_the_first_record_rotates_what_is_there(
    make: Make, tmp_path: Path, locking: str
) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    handler = make(backupCount=2, locking=locking)
    handler.doRollover()
    assert contents(tmp_path) == {"app.log": b"", "app.log.1": b"old\n"}
    log(handler, "new")
    handler.close()
    handler.doRollover()
    assert contents(tmp_path) == {"app.log": b"", "app.log.1": b"new\n", "app.log.2": b"old\n"}


@both_modes
def test_rotating_by_hand_what_is_not_there_makes_no_backup(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(backupCount=2, locking=locking)
    handler.doRollover()
    log(handler, "one")
    assert contents(tmp_path) == {"app.log": b"one\n"}
    assert handler.num_rollovers == 0


# -------------------------------------------------------------------------------- modes, closing, reopening


@both_modes
@pytest.mark.parametrize("keep_file_open", [True, False])
def test_mode_w_starts_anew_once(make: Make, tmp_path: Path, locking: str, keep_file_open: bool) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    (tmp_path / "app.log.1").write_bytes(b"older\n")
    handler = make(mode="w", backupCount=3, locking=locking, keep_file_open=keep_file_open)
    assert (tmp_path / "app.log").read_bytes() == b"old\n"  # not before there is something to log
    log(handler, "one", "two")
    assert contents(tmp_path) == {"app.log": b"one\ntwo\n", "app.log.1": b"older\n"}
    assert handler.num_rollovers == 0
    handler.close()
    log(handler, "three")
    handler.doRollover()
    log(handler, "four")
    handler.close()
    log(handler, "five")
    assert contents(tmp_path) == {
        "app.log": b"four\nfive\n",
        "app.log.1": b"one\ntwo\nthree\n",
        "app.log.2": b"older\n",
    }


@both_modes
def test_mode_w_does_not_take_away_what_a_peer_has_open(make: Make, tmp_path: Path, locking: str) -> None:
    peer = make(locking=locking)
    log(peer, "old")
    log(make(mode="w", locking=locking), "new")
    log(peer, "of the peer")
    assert contents(tmp_path) == {"app.log": b"new\nof the peer\n"}


@both_modes
def test_mode_w_without_a_file_makes_one(make: Make, tmp_path: Path, locking: str) -> None:
    log(make(mode="w", locking=locking), "one", "two")
    assert contents(tmp_path) == {"app.log": b"one\ntwo\n"}


@both_modes
def test_mode_x_goes_on_with_its_own_file(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(mode="x", maxBytes=8, backupCount=1, locking=locking)
    log(handler, "one")
    handler.close()
    log(handler, "two", "three")
    assert contents(tmp_path) == {"app.log": b"three\n", "app.log.1": b"one\ntwo\n"}


@both_modes
def test_a_record_after_close_opens_the_log_again(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(locking=locking)
    handler.close()
    for text in ("one", "two"):
        log(handler, text)
        handler.close()
        handler.close()
        handler.flush()
    assert contents(tmp_path) == {"app.log": b"one\ntwo\n"}


def open_files() -> Set[str]:
    """Return what this process has open."""
    return {os.path.realpath(each) for each in PROC.iterdir()}


@pytest.mark.skipif(not PROC.is_dir(), reason="cannot see its own open files")
@pytest.mark.parametrize("arguments", [{}, {"locking": "exclusive"}, {"lock_file_directory": "locks"}])
def test_nothing_stays_open_between_records_where_that_is_asked(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = open_files()
    handler = make(maxBytes=1, backupCount=2, keep_file_open=False, **arguments)
    for text in ("one", "two", "three"):
        log(handler, text)
        assert open_files() == before
    handler.doRollover()
    assert open_files() == before
    names = {each.name for each in tmp_path.iterdir()} - {"locks"} - HELPERS
    assert {name: (tmp_path / name).read_bytes() for name in names} == {
        "app.log": b"",
        "app.log.1": b"three\n",
        "app.log.2": b"two\n",
    }


@pytest.mark.skipif(not PROC.is_dir(), reason="cannot see its own open files")
@both_modes
def test_close_closes_everything(make: Make, tmp_path: Path, locking: str) -> None:
    before = open_files()
    handler = make(maxBytes=1, backupCount=2, locking=locking)
    log(handler, "one", "two", "three")
    assert str(tmp_path / "app.log") in open_files() - before
    handler.close()
    assert open_files() == before


@both_modes
def test_a_directory_that_is_made_later_is_used_then(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    handler = make("logs/app.log", locking=locking)
    failures: List[logging.LogRecord] = []
    vars(handler)["handleError"] = failures.append
    log(handler, "one", "two")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "logs").mkdir()
    log(handler, "three")
    assert contents(tmp_path / "logs") == {"app.log": b"three\n"}
    assert [each.msg for each in failures] == ["one", "two"]
    assert len(capsys.readouterr().err.splitlines()) <= 1


# -------------------------------------------------------------------------------------------- symbolic links


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Return the path that `app.log` is a link to."""
    (tmp_path / "data").mkdir()
    (tmp_path / "app.log").symlink_to(Path("data") / "real.log")
    return tmp_path / "data" / "real.log"


def without_helpers(directory: Path) -> Dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and path.name not in HELPERS
    }


@both_modes
@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_written_through(make: Make, tmp_path: Path, real: Path, locking: str, there: bool) -> None:
    if there:
        real.write_bytes(b"old\n")
    log(make(locking=locking), "new")
    assert (tmp_path / "app.log").is_symlink()
    assert without_helpers(real.parent) == {"real.log": b"old\n" * there + b"new\n"}


@both_modes
def test_a_link_that_is_rotated_becomes_the_first_backup(
    make: Make, tmp_path: Path, real: Path, locking: str
) -> None:
    """As in 0.9.x and in the standard library: the link is what has the name."""
    log(make(maxBytes=1, backupCount=2, locking=locking), "one", "two")
    assert (tmp_path / "app.log.1").is_symlink()
    assert without_helpers(tmp_path) == {"app.log": b"two\n", "app.log.1": b"one\n"}
    assert without_helpers(real.parent) == {"real.log": b"one\n"}


@both_modes
@pytest.mark.parametrize("arguments", [{"mode": "w"}, {"maxBytes": 4, "backupCount": 0}])
def test_a_link_whose_log_starts_anew_stays(
    make: Make, tmp_path: Path, real: Path, locking: str, arguments: Dict[str, Any]
) -> None:
    """As in 0.9.x, which truncates: what was logged does not stay behind under the other name."""
    real.write_bytes(b"old\n")
    log(make(locking=locking, **arguments), "new")
    assert (tmp_path / "app.log").is_symlink()
    assert without_helpers(tmp_path) == {"app.log": b"new\n"}
    assert without_helpers(real.parent) == {"real.log": b"new\n"}


@both_modes
def test_a_directory_that_is_a_link_is_like_any_other(make: Make, tmp_path: Path, locking: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    log(make("link/app.log", maxBytes=1, backupCount=1, locking=locking), "one", "two")
    assert contents(tmp_path / "real") == {"app.log": b"two\n", "app.log.1": b"one\n"}
    assert {each.name for each in tmp_path.iterdir()} == {"real", "link"}


# -------------------------------------------------------------------------------------------- what is foreign


@both_modes
@pytest.mark.parametrize("backup_count", [0, 1, 3])
@pytest.mark.parametrize("arguments", [{}, {"mode": "w"}])
def test_files_that_are_not_ours_are_left_alone(
    make: Make, tmp_path: Path, locking: str, backup_count: int, arguments: Dict[str, Any]
) -> None:
    names = [
        "app.log.old", "app.log.01", "app.log.0", "app.log.-1", "app.log.1.gzip", "app.log.1 ", "app.log.1.2",
        "app.log.\N{SUPERSCRIPT TWO}", "app.log.\N{ARABIC-INDIC DIGIT TWO}", "app.log.2026-11-22", "app.log~",
        "app2.log.1", "app.log1", "xapp.log.1", ".app.log.1", "app", "app.1", "APP.LOG.1",
        ".__app.tmp", ".__app.0123.tmp", ".__app.0123456789ABCDEF.tmp", ".__app2.0123456789abcdef.tmp",
        ".__app.0123456789abcdef", ".__app2.lock", ".__app2.state", ".__app.lock.old",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(b"foreign " + name.encode())
    log(make(maxBytes=1, backupCount=backup_count, locking=locking, **arguments), *"abcdef")
    assert contents(tmp_path) == {
        **{name: b"foreign " + name.encode() for name in names},
        **files_of_0_9_31(list("abcdef"), 1, backup_count),
    }


@both_modes
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_directory_with_the_name_of_a_backup_is_left_alone_and_nothing_lost(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str, number: int
) -> None:
    directory = tmp_path / f"app.log.{number}"
    directory.mkdir()
    (directory / "precious").write_bytes(b"foreign")
    handler = make(maxBytes=1, backupCount=3, locking=locking)
    failures: List[logging.LogRecord] = []
    vars(handler)["handleError"] = failures.append
    log(handler, *"abc")
    # With two backups at least, three records need not lose any, wherever the others are put.
    found = without_helpers(tmp_path)
    assert {each.name: each.read_bytes() for each in directory.iterdir()} == {"precious": b"foreign"}
    assert {each.name for each in tmp_path.iterdir()} == {*found, *HELPERS, directory.name}
    assert set(found) <= {"app.log", "app.log.1", "app.log.2", "app.log.3", "app.log.4"}
    assert b"".join(found[name] for name in sorted(found, reverse=True)) == b"a\nb\nc\n"
    assert failures == []
    assert len(capsys.readouterr().err.splitlines()) <= 1


@both_modes
def test_a_draft_of_a_dead_process_is_swept_and_one_of_a_living_is_not(
    make: Make, tmp_path: Path, locking: str
) -> None:
    fcntl = pytest.importorskip("fcntl")
    dead, alive = (tmp_path / f".__app.{letter * 16}.tmp" for letter in "ab")
    dead.write_bytes(b"half")
    with alive.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # as its maker holds it
        log(make(maxBytes=1, backupCount=1, locking=locking), "one", "two")
        assert contents(tmp_path) == {"app.log": b"two\n", "app.log.1": b"one\n", alive.name: b""}


# ----------------------------------------------------------------------------------- owners and permissions


def permissions(directory: Path) -> Dict[str, int]:
    return {each.name: mode_of(each) for each in directory.iterdir()}


@both_modes
@pytest.mark.parametrize("of_process", [0o022, 0o077, 0])
@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ({}, None),
        ({"chmod": 0o640}, 0o640),
        ({"chmod": 0o666}, 0o666),
        ({"chmod": 0o751}, 0o751),
        ({"umask": 0o027}, 0o640),
        ({"umask": 0}, 0o666),
        ({"umask": 0o077, "chmod": 0o660}, 0o660),
    ],
)
def test_all_files_have_the_permissions_that_are_asked_for(
    make: Make,
    tmp_path: Path,
    locking: str,
    of_process: int,
    arguments: Dict[str, int],
    mode: Optional[int],
) -> None:
    before = os.umask(of_process)
    try:
        log(make(maxBytes=1, backupCount=2, locking=locking, **arguments), "one", "two", "three")
    finally:
        left = os.umask(before)
    assert left == of_process
    expected = 0o666 & ~of_process if mode is None else mode
    # Who may read the lock file can lock it: helpers are for those who write.
    of_helpers = {0o640: 0o600, 0o644: 0o600, 0o751: 0o600}.get(expected, expected)
    assert permissions(tmp_path) == {
        **dict.fromkeys({"app.log", "app.log.1", "app.log.2"}, expected),
        **dict.fromkeys(HELPERS, of_helpers),
    }


@both_modes
@pytest.mark.usefixtures("_umask_is_left_alone")
def test_the_umask_of_the_process_is_not_touched_for_a_moment(
    make: Make, tmp_path: Path, locking: str
) -> None:
    handler = make(umask=0o077, maxBytes=1, backupCount=1, locking=locking)
    log(handler, "one", "two", "three")
    handler.close()
    assert permissions(tmp_path) == dict.fromkeys({"app.log", "app.log.1", *HELPERS}, 0o600)


def test_other_threads_make_files_by_the_umask_of_the_process(make: Make, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "others").mkdir()
    enough = threading.Event()
    made = []

    def make_files() -> None:
        while not enough.is_set():
            path = tmp_path / "others" / "file"
            path.touch()
            made.append(mode_of(path))
            path.unlink()

    before = os.umask(0o022)
    thread = threading.Thread(target=make_files)
    thread.start()
    try:
        handler = make("logs/app.log", umask=0o077, maxBytes=1, backupCount=3)
        log(handler, *map(str, range(200)))
    finally:
        enough.set()
        thread.join(30)
        left = os.umask(before)
    assert (left, set(made)) == (0o022, {0o644})
    assert set(permissions(tmp_path / "logs").values()) == {0o600}


@as_root
@both_modes
@pytest.mark.parametrize("owner", [(NOBODY, NOBODY), ("nobody", "nogroup"), ["nobody", NOBODY]])
def test_all_files_belong_to_the_owner_that_is_asked_for(
    make: Make, tmp_path: Path, locking: str, owner: Tuple[Any, Any]
) -> None:
    try:
        handler = make(owner=owner, chmod=0o4640, maxBytes=1, backupCount=2, locking=locking)
    except LookupError:
        pytest.skip("this system calls nobody or nogroup by another name")
    log(handler, "one", "two", "three")
    status = {each.name: each.stat() for each in tmp_path.iterdir()}
    assert {name: (each.st_uid, each.st_gid) for name, each in status.items()} == dict.fromkeys(
        {"app.log", "app.log.1", "app.log.2", *HELPERS}, (NOBODY, NOBODY)
    )
    # A change of the owner clears the set-user-id bit, so it has to be set after that.
    assert {stat.S_IMODE(each.st_mode) for name, each in status.items() if name not in HELPERS} == {0o4640}
    assert {stat.S_IMODE(status[name].st_mode) for name in HELPERS} == {0o600}


@both_modes
def test_a_log_that_is_there_already_gets_the_permissions_too(
    make: Make, tmp_path: Path, locking: str
) -> None:
    """As in 0.9.x: who adds `chmod=0o600` to the configuration does not want the old log to stay readable."""
    (tmp_path / "app.log").write_bytes(b"old\n")
    (tmp_path / "app.log").chmod(0o644)
    log(make(chmod=0o600, locking=locking), "new")
    assert contents(tmp_path) == {"app.log": b"old\nnew\n"}
    assert permissions(tmp_path) == dict.fromkeys({"app.log", *HELPERS}, 0o600)


@as_root
@both_modes
def test_a_log_that_is_there_already_gets_the_owner_too(make: Make, tmp_path: Path, locking: str) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    log(make(owner=(NOBODY, NOBODY), locking=locking), "new")
    assert contents(tmp_path) == {"app.log": b"old\nnew\n"}
    assert {(each.stat().st_uid, each.stat().st_gid) for each in tmp_path.iterdir()} == {(NOBODY, NOBODY)}


@both_modes
@pytest.mark.parametrize("mode", [0o640, 0o600])
def test_without_a_wish_an_existing_log_keeps_its_permissions(
    make: Make, tmp_path: Path, locking: str, mode: int
) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    (tmp_path / "app.log").chmod(mode)
    log(make(locking=locking), "new")
    assert mode_of(tmp_path / "app.log") == mode
