"""Logs in places where a process may not do all that it would: it logs on, and tells once what it cannot do.

Run by root, the tests take the rights of nobody for a while; run by another user, its own files are closed to it.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from concurrent_log_handler.state import Page
from support.folder import HELPERS
from support.users import NOBODY, as_nobody, as_root

Make = Callable[..., ConcurrentRotatingFileHandler]


if not hasattr(os, "seteuid"):
    pytest.skip("there are no users to become", allow_module_level=True)

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


@pytest.fixture
def logs() -> Iterator[Path]:
    """Return a directory that others can reach; the one that pytest makes is closed to them."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        with as_nobody():
            reachable = os.access(path, os.X_OK)
        if not reachable:
            pytest.skip(f"nobody cannot reach {path}")
        yield path
        path.chmod(0o755)


@pytest.fixture
def failures() -> List[str]:
    """Return the list of all records that could not be written."""
    return []


@pytest.fixture
def make(logs: Path, failures: List[str]) -> Iterator[Make]:
    made: List[ConcurrentRotatingFileHandler] = []

    def make_one(**arguments: Any) -> ConcurrentRotatingFileHandler:
        handler = ConcurrentRotatingFileHandler(logs / "app.log", **arguments)
        vars(handler)["handleError"] = lambda record: failures.append(record.msg)
        made.append(handler)
        return handler

    yield make_one
    for handler in made:
        handler.close()


def log(handler: ConcurrentRotatingFileHandler, *texts: str) -> None:
    """Log as nobody, each record as if it came a while after the one before: all that is tried now and then is tried."""
    for text in texts:
        handler._log._survey_at = handler._log.files._blocked_until = float("-inf")
        handler._log.end_lease()
        if handler._log._appender is not None:
            handler._log._appender.look_again()
        with as_nobody():
            handler.handle(logging.makeLogRecord({"msg": text}))


def contents(directory: Path) -> Dict[str, bytes]:
    """Return the files of a directory, those helpers left out that there are."""
    return {each.name: each.read_bytes() for each in directory.iterdir() if each.name not in HELPERS}


def told(capsys: pytest.CaptureFixture[str]) -> List[str]:
    """Return what has been reported, without the part that all lines share."""
    out, err = capsys.readouterr()
    assert out == ""
    heads_and_tails = [line.partition(".log: ") for line in err.splitlines()]
    assert {head.partition(": ")[0] for head, _, _ in heads_and_tails} <= {"concurrent_log_handler"}
    return [tail for _, _, tail in heads_and_tails]


def make_helpers(logs: Path, mode: int) -> None:
    """Make lock and page as a process with more rights does."""
    handler = ConcurrentRotatingFileHandler(logs / "app.log")
    handler.handle(logging.makeLogRecord({"msg": "of a peer"}))
    handler.close()
    assert {each.name for each in logs.iterdir()} == {"app.log", *HELPERS}
    (logs / "app.log").chmod(0o666)
    for name in HELPERS:
        (logs / name).chmod(mode)


# ------------------------------------------------------------------------------ where nothing can be made


@both_modes
def test_a_writable_log_in_a_closed_directory_is_written_to_and_that_told_once(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    (logs / "app.log").write_bytes(b"old\n")
    (logs / "app.log").chmod(0o666)
    logs.chmod(0o555)
    handler = make(maxBytes=1, backupCount=3, locking=locking)
    log(handler, "one", "two", "three")
    assert contents(logs) == {"app.log": b"old\none\ntwo\nthree\n"}
    assert {each.name for each in logs.iterdir()} == {"app.log"}
    (line,) = told(capsys)
    assert line.startswith("cannot use the lock file, so the log is not rotated: [Errno 13]")
    assert handler.num_rollovers == 0
    handler.doRollover()
    assert contents(logs) == {"app.log": b"old\none\ntwo\nthree\n"}

    # Once it may, it does; and what fails anew is told anew.
    logs.chmod(0o777)
    log(handler, "four")
    assert contents(logs) == {"app.log": b"four\n", "app.log.1": b"old\none\ntwo\nthree\n"}
    assert told(capsys) == []
    logs.chmod(0o555)
    log(handler, "five", "six")
    assert contents(logs)["app.log"] == b"four\nfive\nsix\n"
    (line,) = told(capsys)
    assert line.startswith("cannot rotate: [Errno 13]")
    assert failures == []


def test_nothing_is_told_where_logging_is_asked_to_be_silent(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    (logs / "app.log").touch()
    (logs / "app.log").chmod(0o666)
    logs.chmod(0o555)
    log(make(maxBytes=1), "one", "two", "three")
    assert contents(logs) == {"app.log": b"one\ntwo\nthree\n"}
    assert told(capsys) == []


@as_root
@both_modes
def test_a_peer_with_more_rights_rotates_for_both(
    make: Make,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failures: List[str],
    locking: str,
) -> None:
    # A lock file without a page looks as if somebody had deleted that a moment ago.
    monkeypatch.setattr(Page, "time_to_wait", lambda _: 0.0)
    (logs / "app.log").touch()
    (logs / "app.log").chmod(0o666)
    (logs / ".__app.lock").touch(0o400)
    logs.chmod(0o555)
    weak = make(maxBytes=1, locking=locking)
    strong = make(maxBytes=1, backupCount=9, chmod=0o666, locking=locking)
    for number in range(3):
        log(weak, f"weak {number}")
        strong.handle(logging.makeLogRecord({"msg": f"strong {number}"}))
    assert contents(logs) == {
        "app.log": b"strong 2\n",
        "app.log.1": b"strong 1\nweak 2\n",
        "app.log.2": b"strong 0\nweak 1\n",
        "app.log.3": b"weak 0\n",
    }
    assert len(told(capsys)) == 1
    assert failures == []


@both_modes
@pytest.mark.parametrize("directory_mode", [0o777, 0o555])
def test_helpers_that_may_only_be_read_allow_no_rotation_and_that_is_told_once(
    make: Make,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[str],
    locking: str,
    directory_mode: int,
) -> None:
    make_helpers(logs, 0o444)
    logs.chmod(directory_mode)
    handler = make(maxBytes=1, backupCount=3, locking=locking)
    before = {name: (logs / name).read_bytes() for name in HELPERS}
    log(handler, "one", "two", "three")
    assert contents(logs) == {"app.log": b"of a peer\none\ntwo\nthree\n"}
    assert {name: (logs / name).read_bytes() for name in HELPERS} == before
    lines = told(capsys)
    # In the exclusive mode, the peers that do not lock cannot be told to, either: a cause of its own.
    assert [line.partition(":")[0] for line in lines] == {
        "atomic": ["cannot rotate"],
        "exclusive": ["cannot turn the log exclusive", "cannot rotate"],
    }[locking]
    assert failures == []


@both_modes
def test_helpers_that_may_not_even_be_read_allow_no_rotation_and_that_is_told_once(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    make_helpers(logs, 0o000)
    logs.chmod(0o777)
    log(make(maxBytes=1, backupCount=3, locking=locking), "one", "two", "three")
    assert contents(logs) == {"app.log": b"of a peer\none\ntwo\nthree\n"}
    lines = told(capsys)
    assert {line.partition(":")[0] for line in lines} <= {
        "cannot use the lock file, so the log is not rotated",
        "cannot use the page",
    }
    assert 1 <= len(lines) == len(set(lines)) <= 2
    assert failures == []


# --------------------------------------------------------------------------------- where nothing can be renamed


@both_modes
def test_without_the_right_to_rename_the_log_grows_until_there_is_one(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    make_helpers(logs, 0o666)
    logs.chmod(0o555)
    handler = make(maxBytes=1, backupCount=3, locking=locking)
    log(handler, "one", "two", "three")
    assert contents(logs) == {"app.log": b"of a peer\none\ntwo\nthree\n"}
    (line,) = told(capsys)
    assert line.startswith("cannot rotate: [Errno 13]")

    logs.chmod(0o777)
    log(handler, "four", "five")
    expected = {"app.log": b"five\n", "app.log.1": b"four\n", "app.log.2": b"of a peer\none\ntwo\nthree\n"}
    assert contents(logs) == expected
    assert told(capsys) == []

    logs.chmod(0o555)
    log(handler, "six", "seven")
    assert contents(logs) == {**expected, "app.log": b"five\nsix\nseven\n"}
    (line,) = told(capsys)
    assert line.startswith("cannot rotate: [Errno 13]")
    assert (failures, handler.num_rollovers) == ([], 2)


@as_root
@both_modes
@pytest.mark.parametrize("backup_count", [0, 2])
def test_in_a_sticky_directory_the_log_of_another_user_grows(
    make: Make,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[str],
    locking: str,
    backup_count: int,
) -> None:
    """As in `/tmp`: files can be made there, but only their owner renames and deletes them."""
    make_helpers(logs, 0o666)
    logs.chmod(0o1777)
    handler = make(maxBytes=1, backupCount=backup_count, locking=locking)
    log(handler, "one", "two", "three")
    assert contents(logs) == {"app.log": b"of a peer\none\ntwo\nthree\n"}
    (line,) = told(capsys)
    assert line.startswith("cannot rotate: [Errno 1]")

    # A peer that may rotate finds nothing in its way.
    peer = make(maxBytes=1, backupCount=2, locking=locking, chmod=0o666)
    peer.handle(logging.makeLogRecord({"msg": "four"}))
    assert contents(logs) == {"app.log": b"four\n", "app.log.1": b"of a peer\none\ntwo\nthree\n"}
    assert failures == []


@as_root
@both_modes
def test_in_a_sticky_directory_a_backup_of_another_user_stops_rotation_and_nothing_is_lost(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    make_helpers(logs, 0o666)
    os.chown(logs / "app.log", NOBODY, NOBODY)
    (logs / "app.log.1").write_bytes(b"foreign\n")
    logs.chmod(0o1777)
    log(make(maxBytes=1, backupCount=3, locking=locking), "one", "two", "three")
    assert contents(logs) == {"app.log": b"of a peer\none\ntwo\nthree\n", "app.log.1": b"foreign\n"}
    (line,) = told(capsys)
    assert line.startswith("cannot rotate: [Errno 1]")
    assert failures == []


@both_modes
def test_a_directory_that_cannot_be_listed_is_no_hindrance(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    logs.chmod(0o333)
    log(make(maxBytes=1, backupCount=2, locking=locking), "one", "two", "three")
    logs.chmod(0o755)
    assert contents(logs) == {"app.log": b"three\n", "app.log.1": b"two\n", "app.log.2": b"one\n"}
    assert (told(capsys), failures) == ([], [])


# --------------------------------------------------------------------------------- where nothing can be written


@both_modes
@pytest.mark.parametrize("in_the_way", ["log", "directory"])
def test_a_log_that_may_not_be_written_to_costs_only_the_records_of_that_time(
    make: Make,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[str],
    locking: str,
    in_the_way: str,
) -> None:
    make_helpers(logs, 0o666)
    logs.chmod(0o777)
    handler = make(maxBytes=100, locking=locking)
    path, modes = {"log": (logs / "app.log", (0o444, 0o666)), "directory": (logs, (0o000, 0o777))}[in_the_way]
    path.chmod(modes[0])
    log(handler, "one", "two")
    path.chmod(modes[1])
    log(handler, "three", "four")
    assert contents(logs) == {"app.log": b"of a peer\nthree\nfour\n"}
    assert failures == ["one", "two"]
    lines = told(capsys)
    assert len(lines) == len(set(lines)) <= 2


@both_modes
def test_a_log_that_may_be_written_to_but_not_read_is_a_log_as_others(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    make_helpers(logs, 0o666)
    logs.chmod(0o777)
    (logs / "app.log").chmod(0o222)
    handler = make(maxBytes=25, backupCount=2, locking=locking)
    log(handler, "one", "two", "three", "four", "five")
    assert contents(logs) == {"app.log.1": b"of a peer\none\ntwo\nthree\nfour\n", "app.log": b"five\n"}
    assert failures == told(capsys) == []


@as_root
@both_modes
def test_an_owner_that_cannot_be_given_is_told_once_and_logging_goes_on(
    make: Make, logs: Path, capsys: pytest.CaptureFixture[str], failures: List[str], locking: str
) -> None:
    logs.chmod(0o777)
    handler = make(owner=(0, 0), chmod=0o640, maxBytes=1, backupCount=2, locking=locking)
    log(handler, "one", "two", "three")
    assert contents(logs) == {"app.log": b"three\n", "app.log.1": b"two\n", "app.log.2": b"one\n"}
    owners_and_modes = {
        each.name: (each.stat().st_uid, each.stat().st_mode & 0o7777) for each in logs.iterdir()
    }
    of_helpers = {owners_and_modes.pop(name) for name in HELPERS}
    assert (set(owners_and_modes.values()), of_helpers) == ({(NOBODY, 0o640)}, {(NOBODY, 0o600)})
    (line,) = told(capsys)
    assert line.startswith("cannot give the log to its owner: [Errno 1]")
    assert failures == []


# -------------------------------------------------------------------------------------------- two users, one log


@as_root
@both_modes
@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_two_users_share_a_log_whose_permissions_allow_it(
    make: Make,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[str],
    locking: str,
    umask: int,
) -> None:
    logs.chmod(0o777)
    before = os.umask(umask)
    try:
        mine, theirs = (make(chmod=0o666, maxBytes=1, backupCount=9, locking=locking) for _ in range(2))
        for number in range(3):
            mine.handle(logging.makeLogRecord({"msg": f"mine {number}"}))
            log(theirs, f"theirs {number}")
    finally:
        os.umask(before)
    assert contents(logs) == {
        "app.log": b"theirs 2\n",
        "app.log.1": b"mine 2\n",
        "app.log.2": b"theirs 1\n",
        "app.log.3": b"mine 1\n",
        "app.log.4": b"theirs 0\n",
        "app.log.5": b"mine 0\n",
    }
    assert {each.stat().st_mode & 0o777 for each in logs.iterdir()} == {0o666}
    assert (told(capsys), failures) == ([], [])
