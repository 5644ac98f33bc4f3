"""Writes that fail or stop short: the record is whole or reported, never half, and all others are there."""

import contextlib
import errno
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Set, Tuple, Union

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler, base
from concurrent_log_handler._posix import Posix
from support.folder import contents

Make = Callable[..., ConcurrentRotatingFileHandler]
Act = Union[int, OSError, Callable[[], int]]

PROC = Path("/proc/self/fd")
ALL = 10**9  # more than any record in here has

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


class FaultySystem(Posix):
    """Does to the next writes what a test has planned, one after the other.

    A number writes only so many bytes, an error is raised, and what can be called is asked for one of these.
    """

    def __init__(self) -> None:
        self.plan: List[Act] = []

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override] # the caller has nothing else
        if not self.plan:
            return os.write(fd, data)
        act = self.plan.pop(0)
        if isinstance(act, OSError):
            raise act
        if isinstance(act, int):
            return os.write(fd, data[:act])
        written = os.write(fd, data[: len(data) // 2])
        act()
        return written


class FailingOnce(FaultySystem):
    """Fails besides in each of some other calls, until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: Set[str] = set()

    def set_length(self, fd: int, length: int) -> None:
        # The page is cut too, and is longer than any log in here.
        if "set_length" in self.failing and os.fstat(fd).st_size < 4096:
            raise OSError(errno.EIO, "no cutting")
        super().set_length(fd, length)

    def overwrite(self, fd: int, path: str, data: bytes, offset: int) -> None:
        if "overwrite" in self.failing:
            raise OSError(errno.EIO, "no overwriting")
        super().overwrite(fd, path, data, offset)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FailingOnce:
    """Return the system that the handlers of a test call."""
    system = FailingOnce()
    monkeypatch.setattr(base, "SYSTEM", system)
    return system


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def failures() -> List[Tuple[str, int]]:
    """Return the list of all records that could not be written, with the reasons."""
    return []


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return the directory of the log, which holds nothing else: so its descriptors are told from all others."""
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


@pytest.fixture
def make(logs: Path, failures: List[Tuple[str, int]], system: FailingOnce) -> Iterator[Make]:
    """Make handlers for one log, which are closed in the end."""
    made: List[ConcurrentRotatingFileHandler] = []

    def note(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        assert isinstance(error, OSError), error
        failures.append((record.msg, error.errno or 0))

    def make_one(**arguments: Any) -> ConcurrentRotatingFileHandler:
        handler = ConcurrentRotatingFileHandler(logs / "app.log", **arguments)
        vars(handler)["handleError"] = note
        made.append(handler)
        return handler

    assert not system.plan
    yield make_one
    for handler in made:
        handler.close()


def log(handler: ConcurrentRotatingFileHandler, *texts: str) -> None:
    for text in texts:
        handler.handle(logging.makeLogRecord({"msg": text}))


def look_now(handler: ConcurrentRotatingFileHandler) -> None:
    """Have the next record look around, as it would half a second later."""
    handler._log._survey_at = float("-inf")
    handler._log.end_lease()
    if handler._log._appender is not None:
        handler._log._appender.look_again()


def records(directory: Path) -> List[str]:
    """Return the lines of the log that are not blank, for tests in which a fragment had to be blanked out."""
    return [line for line in contents(directory)["app.log"].decode().splitlines() if line.strip()]


# ------------------------------------------------------------------------------------------- a write that fails


@both_modes
@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPERM, errno.EAGAIN, errno.EINVAL]
)
def test_a_record_that_cannot_be_written_is_reported_and_no_other(
    make: Make,
    system: FailingOnce,
    logs: Path,
    failures: List[Tuple[str, int]],
    locking: str,
    number: int,
) -> None:
    handler = make(locking=locking)
    log(handler, "one")
    system.plan = [OSError(number, "planned"), OSError(number, "planned")]
    log(handler, "two", "three", "four")
    assert contents(logs) == {"app.log": b"one\nfour\n"}
    assert failures == [("two", number), ("three", number)]


@both_modes
def test_an_interrupted_write_is_reported_or_done_again(
    make: Make, system: FailingOnce, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    """Python itself writes again after EINTR, unless the handler of the signal raises."""
    handler = make(locking=locking)
    log(handler, "one")
    system.plan = [InterruptedError(errno.EINTR, "planned")]
    log(handler, "two", "three")
    written = records(logs)
    assert written in (["one", "three"], ["one", "two", "three"])
    assert failures == ([] if "two" in written else [("two", errno.EINTR)])


@both_modes
@pytest.mark.parametrize("number", [errno.EBADF, errno.ESTALE])
def test_a_record_whose_descriptor_was_lost_is_written_to_a_new_one(
    make: Make,
    system: FailingOnce,
    logs: Path,
    failures: List[Tuple[str, int]],
    locking: str,
    number: int,
) -> None:
    handler = make(locking=locking)
    log(handler, "one")
    system.plan = [OSError(number, "planned")]
    log(handler, "two", "three")
    assert contents(logs) == {"app.log": b"one\ntwo\nthree\n"}
    assert failures == []


@both_modes
@pytest.mark.parametrize("number", [errno.EBADF, errno.ESTALE])
def test_a_descriptor_that_is_lost_again_and_again_is_reported(
    make: Make,
    system: FailingOnce,
    logs: Path,
    failures: List[Tuple[str, int]],
    locking: str,
    number: int,
) -> None:
    handler = make(locking=locking)
    log(handler, "one")
    system.plan = [OSError(number, "planned")] * 9
    log(handler, "two")
    system.plan = []
    log(handler, "three")
    assert contents(logs) == {"app.log": b"one\nthree\n"}
    assert failures == [("two", number)]


@both_modes
def test_the_very_first_write_may_fail(
    make: Make,
    system: FailingOnce,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[Tuple[str, int]],
    locking: str,
) -> None:
    """Which is that of the page, or of a header: nothing half made may stay behind."""
    for number in range(6):
        for each in logs.iterdir():
            each.unlink()
        failures.clear()
        handler = make(locking=locking, header="# head")
        system.plan = [*[ALL] * number, OSError(errno.ENOSPC, "planned")]
        log(handler, "one")
        system.plan = []
        log(handler, "two")
        look_now(handler)
        log(handler, "three")
        expected = [text for text in ("one", "two", "three") if (text, errno.ENOSPC) not in failures]
        assert records(logs) == ["# head", *expected], number
        assert contents(logs).keys() == {"app.log"}
        handler.close()
        capsys.readouterr()  # what is reported depends on whose write it was; here only the outcome counts


# ------------------------------------------------------------------------------------- a write that stops short

RECORD = "a record of some length"
PLANS: Dict[str, Tuple[List[Act], int]] = {
    "goes on": ([1], 0),
    "goes on from the middle": ([11], 0),
    "goes on for the line end": ([len(RECORD)], 0),
    "nothing, then all": ([0], 0),
    "fails after one byte": ([1, OSError(errno.ENOSPC, "")], errno.ENOSPC),
    "fails in the middle": ([11, OSError(errno.EIO, "")], errno.EIO),
    "fails before the line end": ([len(RECORD), OSError(errno.EFBIG, "")], errno.EFBIG),
    "nothing, then fails": ([0, OSError(errno.ENOSPC, "")], errno.ENOSPC),
    "short twice": ([11, 5], errno.EIO),
    "short, then nothing": ([11, 0], errno.EIO),
    "nothing twice": ([0, 0], errno.EIO),
}


def blank(size: int) -> bytes:
    """Return an empty line of so many bytes."""
    return (b" " * (size - 1) + b"\n")[:size]


@both_modes
@pytest.mark.parametrize("name", list(PLANS))
@pytest.mark.parametrize("arguments", [{}, {"maxBytes": 30, "backupCount": 0}, {"keep_file_open": False}])
def test_a_short_write_is_completed_or_leaves_at_most_a_blank_line(
    make: Make,
    system: FailingOnce,
    logs: Path,
    failures: List[Tuple[str, int]],
    locking: str,
    name: str,
    arguments: Dict[str, Any],
) -> None:
    plan, reason = PLANS[name]
    handler = make(locking=locking, **arguments)
    log(handler, "before")
    system.plan = list(plan)
    log(handler, RECORD)
    assert system.plan == []
    # Where peers append without a lock, what has been written cannot be cut off, only blanked out.
    cut = locking == "exclusive" or "keep_file_open" in arguments
    rest = b"" if cut else blank(sum(act for act in plan if isinstance(act, int)))
    expected = b"before\n" + (rest if reason else RECORD.encode() + b"\n")
    assert contents(logs) == {"app.log": expected}
    assert failures == ([(RECORD, reason)] if reason else [])
    log(handler, "after")
    if "maxBytes" in arguments and len(expected) >= arguments["maxBytes"]:
        expected = b""  # nothing is kept
    assert contents(logs) == {"app.log": expected + b"after\n"}


@both_modes
def test_a_fragment_behind_which_a_peer_has_logged_becomes_a_blank_line(
    make: Make, system: FailingOnce, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    """In the exclusive mode no peer comes between; one who does not keep to the rules might."""
    handler = make(locking=locking)
    log(handler, "before")

    def append_as_a_peer() -> int:
        with (logs / "app.log").open("ab") as peer:
            return peer.write(b"peer\n")

    system.plan = [append_as_a_peer, OSError(errno.ENOSPC, "")]
    log(handler, "0123456789", "after")
    assert contents(logs) == {"app.log": b"before\n" + blank(5) + b"peer\n" + b"after\n"}
    assert failures == [("0123456789", errno.ENOSPC)]


@both_modes
def test_a_record_that_a_peer_has_parted_is_written_anew(
    make: Make, system: FailingOnce, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    handler = make(locking=locking)
    log(handler, "before")

    def append_as_a_peer() -> int:
        with (logs / "app.log").open("ab") as peer:
            return peer.write(b"peer\n")

    system.plan = [append_as_a_peer]
    log(handler, "0123456789", "after")
    assert records(logs) == ["before", "peer", "0123456789", "after"]
    assert failures == []


@pytest.mark.parametrize("rest", ["is written", "fails"])
@pytest.mark.parametrize("by", ["the same thread", "another thread"])
@pytest.mark.parametrize("begin", ["", "2026-11-22 10:15:00 "])
def test_a_record_that_comes_between_through_the_same_handler_stays_whole(
    make: Make,
    system: FailingOnce,
    logs: Path,
    failures: List[Tuple[str, int]],
    rest: str,
    by: str,
    begin: str,
) -> None:
    """A signal handler that logs, or a thread that calls `emit`: its write moves the position of the same descriptor.

    And records mostly begin alike, so a fragment cannot be told from the beginning of the other record by its text.
    """
    handler = make(locking="atomic")
    before, outer, between, after = (
        begin + text for text in ("before", "0123456789", "between " * 9 + "!", "after")
    )
    log(handler, before)

    def log_between() -> int:
        record = logging.makeLogRecord({"msg": between})
        if by == "the same thread":
            handler.handle(record)
        else:
            thread = threading.Thread(target=handler.emit, args=(record,))
            thread.start()
            thread.join(30)
        if rest == "fails":
            system.plan = [OSError(errno.ENOSPC, "")]
        return 0

    system.plan = [log_between]
    log(handler, outer, after)
    if rest == "fails":
        assert (records(logs), failures) == ([before, between, after], [(outer, errno.ENOSPC)])
    else:
        assert (records(logs), failures) == ([before, between, outer, after], [])


@both_modes
def test_a_fragment_that_can_only_be_blanked_out_is(
    make: Make, system: FailingOnce, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    handler = make(locking=locking)
    log(handler, "before")
    system.plan, system.failing = [6, OSError(errno.ENOSPC, "")], {"set_length"}
    log(handler, "0123456789")
    system.failing = set()
    log(handler, "after")
    assert contents(logs) == {"app.log": b"before\n     \nafter\n"}
    assert failures == [("0123456789", errno.ENOSPC)]


@both_modes
def test_a_fragment_that_cannot_be_taken_back_is_reported_and_damages_no_other_record(
    make: Make,
    system: FailingOnce,
    logs: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[Tuple[str, int]],
    locking: str,
) -> None:
    handler = make(locking=locking)
    log(handler, "before")
    system.plan, system.failing = [6, OSError(errno.ENOSPC, "")], {"set_length", "overwrite"}
    log(handler, "0123456789")
    system.failing = set()
    log(handler, "after", "later")
    written = records(logs)
    assert written[0] == "before"
    assert written[-2:] == ["after", "later"]  # on lines of their own
    assert failures == [("0123456789", errno.ENOSPC)]
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot take back a fragment of a record" in line


# ------------------------------------------------------------------------------------- a limit of the process

LIMITED = """
import logging, resource, sys
from concurrent_log_handler import ConcurrentRotatingFileHandler

path, locking, limit, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
handler = ConcurrentRotatingFileHandler(path, locking=locking)
failed = []
handler.handleError = lambda record: failed.append((record.msg, sys.exc_info()[1].errno))
print(flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for number in range(count):
    handler.handle(logging.makeLogRecord({"msg": "limited %d " % number + "x" * 100}))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
handler.handle(logging.makeLogRecord({"msg": "limited no longer"}))
print([(text.split()[1], number) for text, number in failed])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@both_modes
def test_a_process_at_its_limit_does_no_harm_to_another(
    make: Make, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    limit, count = 40_000, 1_500
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(logs / "app.log"), locking]
    handler = make(locking=locking)
    with subprocess.Popen(
        [*command, str(limit), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as limited:
        assert limited.stdin is not None
        assert limited.stdout is not None
        assert limited.stdout.readline() == "\n"
        limited.stdin.write("\n")
        limited.stdin.flush()
        for number in range(count):
            log(handler, f"free {number} " + "y" * 100)
        refused = eval(limited.stdout.read())  # noqa: S307 - printed by the text above
        assert limited.wait(60) == 0
    assert {reason for _, reason in refused} == {errno.EFBIG}
    refused_numbers = {int(number) for number, _ in refused}
    written = records(logs)
    assert [line for line in written if line.startswith("free")] == [
        f"free {number} " + "y" * 100 for number in range(count)
    ]
    assert [line for line in written if not line.startswith("free")] == [
        *(f"limited {number} " + "x" * 100 for number in range(count) if number not in refused_numbers),
        "limited no longer",
    ]
    assert failures == []
    assert len(refused_numbers) > count // 2


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@both_modes
def test_a_process_alone_at_its_limit_leaves_at_most_one_blank_line(logs: Path, locking: str) -> None:
    limit, count = 10_000, 120
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(logs / "app.log"), locking]
    ended = subprocess.run(
        [*command, str(limit), str(count)],
        input="\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [b"limited %d " % number + b"x" * 100 + b"\n" for number in range(count)]
    fitting = next(number for number in range(count) if len(b"".join(lines[: number + 1])) > limit)
    text = b"".join(lines[:fitting])
    rest = b"" if locking == "exclusive" else blank(limit - len(text))
    assert contents(logs) == {"app.log": text + rest + b"limited no longer\n"}


# ------------------------------------------------------- descriptors that are closed and used again by others

needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="cannot see its own open files")


def descriptors_of(directory: Path) -> Dict[int, str]:
    """Return the descriptors of this process that lead into a directory, with the names there."""
    found = {}
    for each in PROC.iterdir():
        if each.is_symlink():
            path = Path(os.readlink(each))
            if directory in (path, *path.parents):
                found[int(each.name)] = "" if path == directory else path.name
    return found


def close_behind_its_back(directory: Path) -> Dict[int, str]:
    """Close all that is open below a directory, as a library that makes a daemon does."""
    found = descriptors_of(directory)
    for number in found:
        os.closerange(number, number + 1)
    return found


@needs_proc
@both_modes
def test_logging_goes_on_after_all_descriptors_were_closed(
    make: Make, logs: Path, failures: List[Tuple[str, int]], locking: str
) -> None:
    handler = make(locking=locking, maxBytes=20, backupCount=3)
    log(handler, "one", "two")
    assert {"app.log", ".__app.state", ".__app.lock"} <= {
        *close_behind_its_back(logs).values(),
        ".__app.lock",
    }
    log(handler, "three")
    close_behind_its_back(logs)
    log(handler, "four", "five", "six", "seven")
    handler.close()
    assert contents(logs) == {"app.log": b"six\nseven\n", "app.log.1": b"one\ntwo\nthree\nfour\nfive\n"}
    assert failures == []


class Victim:
    """Something that others opened, and that will have the descriptors that were the log's."""

    def __init__(self, kind: str, path: Path) -> None:
        self._numbers: Set[int] = set()
        if kind == "file":
            self._ours = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._other = os.open(path, os.O_RDONLY)
        elif kind == "pipe":
            self._other, self._ours = os.pipe()
        else:
            ours, other = socket.socketpair()
            self._ours, self._other = ours.detach(), other.detach()
        os.set_blocking(self._other, False)

    def take(self, numbers: Iterable[int]) -> None:
        """Be open under these numbers."""
        for number in numbers:
            os.dup2(self._ours, number, inheritable=False)
            self._numbers.add(number)

    def given(self) -> bytes:
        """Return what was written to it, once all of its descriptors were found to be still its own."""
        assert [number for number in self._numbers if not self._is_here(number)] == []
        try:
            return os.read(self._other, 1000)
        except BlockingIOError:
            return b""

    def _is_here(self, number: int) -> bool:
        try:
            return os.path.sameopenfile(number, self._ours)
        except OSError:  # closed
            return False

    def close(self) -> None:
        for number in (*self._numbers, self._ours, self._other):
            with contextlib.suppress(OSError):  # closed already, which `given` has told
                os.close(number)


@pytest.fixture(params=["file", "pipe", "socket"])
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(request.param, tmp_path / "victim")
    yield victim
    victim.close()


@needs_proc
@both_modes
@pytest.mark.parametrize("still_closed", ["app.log", ".__app.lock", ".__app.state"])
def test_descriptors_that_others_use_by_now_are_not_written_to_once_that_shows(
    make: Make,
    logs: Path,
    victim: Victim,
    capsys: pytest.CaptureFixture[str],
    failures: List[Tuple[str, int]],
    locking: str,
    still_closed: str,
) -> None:
    handler = make(locking=locking)
    log(handler, "one", "two")
    closed = close_behind_its_back(logs)
    victim.take(number for number, name in closed.items() if name != still_closed)
    # When the number of the log itself is in use again, nothing shows before the next look.
    if still_closed != "app.log":
        look_now(handler)
    log(handler, "three", "four")
    handler.close()
    assert (contents(logs), failures) == ({"app.log": b"one\ntwo\nthree\nfour\n"}, [])
    assert victim.given() == b""
    capsys.readouterr()  # it may be told how that showed


@needs_proc
@both_modes
def test_descriptors_that_are_all_used_by_others_are_noticed_at_the_next_look(
    make: Make,
    logs: Path,
    victim: Victim,
    capsys: pytest.CaptureFixture[str],
    failures: List[Tuple[str, int]],
    locking: str,
) -> None:
    handler = make(locking=locking)
    log(handler, "one", "two")
    victim.take(close_behind_its_back(logs))
    look_now(handler)
    log(handler, "three", "four")
    handler.close()
    assert (contents(logs), failures) == ({"app.log": b"one\ntwo\nthree\nfour\n"}, [])
    assert victim.given() == b""
    capsys.readouterr()  # it may be told how that showed


@needs_proc
@both_modes
def test_close_does_not_close_what_others_have_opened(
    make: Make, logs: Path, victim: Victim, locking: str
) -> None:
    handler = make(locking=locking)
    log(handler, "one")
    victim.take(close_behind_its_back(logs))
    handler.close()
    assert victim.given() == b""
    log(handler, "two")
    handler.close()
    assert contents(logs) == {"app.log": b"one\ntwo\n"}
    assert victim.given() == b""


DAEMON = """
import logging, os, sys
from concurrent_log_handler import ConcurrentRotatingFileHandler

handler = ConcurrentRotatingFileHandler(sys.argv[1], locking=sys.argv[2], maxBytes=45, backupCount=3)

def log(text):
    handler.handle(logging.makeLogRecord({"msg": text}))

log("parent")
if os.fork() == 0:
    os.closerange(3, 100)
    # What a daemon opens next gets the numbers that the log had.
    victims = [os.open(sys.argv[3], os.O_RDWR | os.O_APPEND) for _ in range(20)]
    for number in range(10):
        log("daemon %d" % number)
    handler.close()
    for each in victims:
        os.close(each)  # or it has been closed already
    os._exit(0)
assert os.wait()[1] == 0
log("parent again")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="makes a daemon by fork")
@both_modes
def test_a_daemon_that_closes_all_descriptors_logs_on_and_writes_nowhere_else(
    logs: Path, tmp_path: Path, locking: str
) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    command = [sys.executable, "-W", "error", "-c", DAEMON, str(logs / "app.log"), locking, str(victim)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert contents(logs) == {
        "app.log": b"parent again\n",
        "app.log.1": b"daemon 5\ndaemon 6\ndaemon 7\ndaemon 8\ndaemon 9\n",
        "app.log.2": b"parent\ndaemon 0\ndaemon 1\ndaemon 2\ndaemon 3\ndaemon 4\n",
    }
    assert victim.read_bytes() == b""


# --------------------------------------------------------------------------------- the log's place is taken


@both_modes
def test_a_directory_in_the_place_of_the_log_costs_only_the_records_of_its_time(
    make: Make, logs: Path, failures: List[Tuple[str, int]], locking: str, system: FailingOnce
) -> None:
    handler = make(locking=locking, maxBytes=100, backupCount=2)
    log(handler, "one")

    (logs / "app.log").rename(logs / "aside")
    (logs / "app.log").mkdir()
    (logs / "app.log" / "precious").touch()
    look_now(handler)
    log(handler, "two")
    look_now(handler)
    log(handler, "three")
    (logs / "app.log" / "precious").unlink()
    (logs / "app.log").rmdir()
    look_now(handler)
    log(handler, "four", "five")
    assert contents(logs) == {"app.log": b"four\nfive\n", "aside": b"one\n"}
    assert failures == [("two", errno.EISDIR), ("three", errno.EISDIR)]
    assert not system.plan
