"""What cannot be compressed stays as it is, counts as one backup, is told of once, and is compressed another time."""

import contextlib
import errno
import functools
import gzip
import io
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import pytest

from concurrent_log_handler import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    base,
    logfile,
    state,
)
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.base import ConcurrentHandler
from concurrent_log_handler.state import GRACE
from concurrent_log_handler.system import System
from support.children import Children, until
from support.clock import HOUR
from support.disks import small_disk
from support.folder import HELPERS, LIVE, LOCK, PAGE, Files, dated, plant
from support.programs import run_program
from support.records import EVEN, even, line, lines
from support.users import NOBODY, as_nobody, as_root
from support.writers import Deed, Scribe, WatchedHandler

FULL = 4
"""Records in a full file."""
MANY = 1_000
CAUSE = "cannot compress an old file: "
OLD = f"{LIVE}.1"
CONTENT = b"".join(b"an old record, number %04d\n" % number for number in range(100))
GZIP = shutil.which("gzip") or ""
STEPS = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
LONG_SLEEP = "exec sleep 1000"

PAST = time.time() // HOUR * HOUR - 12 * HOUR
"""The time by the clock of the handlers that rotate by time."""

Make = Callable[..., ConcurrentHandler]


def by_size(live: Path, **options: Any) -> ConcurrentHandler:
    return ConcurrentRotatingFileHandler(
        live, maxBytes=FULL * EVEN, backupCount=MANY, encoding="ascii", upkeep="inline", **options
    )


def by_time(live: Path, **options: Any) -> ConcurrentHandler:
    """Make the timed handler; most tests rotate it by size, which needs no clock."""

    class InThePast(ConcurrentTimedRotatingFileHandler):
        def _now(self) -> float:
            return PAST

    return InThePast(
        live, when="H", maxBytes=FULL * EVEN, utc=True, encoding="ascii", upkeep="inline", **options
    )


with_both_handlers = pytest.mark.parametrize("make", [by_size, by_time])


def watched(live: Path, step: str = "", deed: Optional[Deed] = None, **options: Any) -> WatchedHandler:
    """Make a handler that does all that is to be done in the call that has rotated."""
    options.setdefault("compression", "gzip")
    options.setdefault("upkeep", "inline")
    options.setdefault("backupCount", MANY)
    interrupts = {} if deed is None else {step: deed}
    return WatchedHandler(str(live), interrupts, maxBytes=FULL * EVEN, **options)


def log(handler: logging.Handler, first: int, last: int) -> None:
    """Log the records with these numbers."""
    for number in range(first, last + 1):
        handler.handle(logging.LogRecord("test", logging.INFO, __file__, 0, even(1, number), (), None))


def records(first: int, last: int) -> bytes:
    return lines(even, 1, range(first, last + 1))


def full_file(number: int) -> bytes:
    """Return what the file holds that is the n-th to be rotated."""
    return records((number - 1) * FULL + 1, number * FULL)


def found(live: Path) -> Files:
    """Return all in the folder of a log but the helpers; what is compressed by gzip, as what it holds."""
    files: Files = {}
    for each in live.parent.iterdir():
        if each.is_dir():
            files[each.name + "/"] = b""
        elif each.suffix == ".gz":
            files[each.name] = gzip.decompress(each.read_bytes())
        elif each.name not in HELPERS:
            files[each.name] = each.read_bytes()
    return files


def backups(make: Make, *extensions: str) -> Files:
    """Return the backups with these extensions, the youngest first, and the live file with one record."""
    count = len(extensions)
    files = {LIVE: line(even, 1, count * FULL + 1)}
    for age, extension in enumerate(extensions, 1):
        counter = count - age
        name = f"{LIVE}.{age}" if make is by_size else dated(PAST, counter)
        files[name + extension] = full_file(count - age + 1)
    return files


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], List[str]]:
    """Return what tells what has been reported since it was asked last, without what all lines share."""

    def news() -> List[str]:
        out, err = capsys.readouterr()
        assert out == ""
        heads_and_tails = [each.partition(f"{LIVE}: ") for each in err.splitlines()]
        assert {head.partition(": ")[0] for head, _, _ in heads_and_tails} <= {"concurrent_log_handler"}
        return [tail for _, _, tail in heads_and_tails]

    return news


# --------------------------------------------------------------------------------------------------- no space


class BrokenDisk(Posix):
    """A file system on which some system calls fail for a while, or leave too little space."""

    def __init__(self) -> None:
        self.failing: Dict[str, int] = {}
        for name in ("create", "write", "sync", "link"):
            vars(self)[name] = self._may_fail(name, getattr(self, name))

    def _may_fail(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_call(*args: Any) -> Any:
            if name in self.failing and self._concerns_draft(args[0]):
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            return call(*args)

        return fail_or_call

    def _concerns_draft(self, file: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else file
        return bool(path.endswith(".tmp") and not path.endswith("0000.tmp"))

    def free_bytes(self, path: str) -> int:
        return super().free_bytes(path) if "free_bytes" not in self.failing else 2 * FULL * EVEN - 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> BrokenDisk:
    system = BrokenDisk()
    monkeypatch.setattr(base, "SYSTEM", system)
    return system


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")
@with_both_handlers
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("free_bytes", errno.ENOSPC),
        ("create", errno.ENOSPC),
        ("create", errno.EROFS),
        ("write", errno.ENOSPC),
        ("write", errno.EDQUOT),
        ("write", errno.EFBIG),
        ("sync", errno.EIO),
        ("link", errno.ENOSPC),
    ],
)
def test_what_cannot_be_written_is_told_once_and_compressed_later_and_told_again_after_that(
    live: Path, disk: BrokenDisk, told: Callable[[], List[str]], make: Make, call: str, number: int
) -> None:
    handler = make(live, use_gzip=True)
    log(handler, 1, 1)
    disk.failing[call] = number
    log(handler, 2, 2 * FULL + 1)
    assert found(live) == backups(make, "", "")
    (report,) = told()
    assert report.startswith(f"{CAUSE}[Errno {number}] ")
    log(handler, 2 * FULL + 2, 3 * FULL + 1)
    assert found(live) == backups(make, "", "", "")
    assert told() == []

    disk.failing.clear()
    log(handler, 3 * FULL + 2, 4 * FULL + 1)
    assert found(live) == backups(make, *4 * [".gz"])
    assert told() == []

    disk.failing[call] = number
    log(handler, 4 * FULL + 2, 6 * FULL + 1)
    assert found(live) == backups(make, "", "", *4 * [".gz"])
    assert len(told()) == 1
    disk.failing.clear()
    handler.close()
    assert found(live) == backups(make, *6 * [".gz"])
    assert told() == []


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_what_could_not_be_compressed_counts_as_one_backup(live: Path, disk: BrokenDisk, keep: int) -> None:
    handler = watched(live, backupCount=keep)
    log(handler, 1, FULL + 1)
    disk.failing["sync"] = errno.EIO
    log(handler, FULL + 2, 3 * FULL + 1)
    expected = {f"{LIVE}.1": full_file(3), f"{LIVE}.2": full_file(2), f"{LIVE}.3.gz": full_file(1)}
    expected = dict(list(expected.items())[:keep])
    assert found(live) == {LIVE: line(even, 1, 3 * FULL + 1), **expected}
    disk.failing.clear()
    handler.close()


SCRIPT = '''
import gzip, json, logging, os, random, sys

from concurrent_log_handler import ConcurrentRotatingFileHandler

disk, at = sys.argv[1:]

def fill():
    """Leave no space at all."""
    with open(disk + "/ballast", "ab", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass

class Codec:
    """Compresses when the disk is full already."""
    extension = ".gz"

    def open(self, path):
        if at == "open":
            fill()
        return gzip.open(path, "wb")

class Handler(ConcurrentRotatingFileHandler):
    steps = []

    def _after_step(self, step):
        if step == at and not os.path.exists(disk + "/ballast"):
            fill()

codec = Codec() if at == "open" else "gzip"
handler = Handler(disk + "/app.log", maxBytes=50_000, backupCount=9, encoding="ascii", compression=codec, upkeep="inline")
handler.handleError = lambda record: failed.append(record.msg)
failed, logged = [], []

def log(count):
    for _ in range(count):
        text = str(len(logged)) + " " + "".join(random.choices("0123456789abcdef", k=5_000))
        logged.append(text)
        handler.handle(logging.makeLogRecord({"msg": text}))

def found():
    files = {}
    for name in sorted(os.listdir(disk)):
        if not name.startswith(".__app.lock") and not name.startswith(".__app.state") and name != "ballast":
            with (gzip.open if name.endswith(".gz") else open)(disk + "/" + name, "rt") as stream:
                files[name] = [line.split()[0] for line in stream if line.strip("\\0\\n") and line[:-1] in logged]
    return files

log(11)
full = found()
log(3)
again = found()
os.unlink(disk + "/ballast")
at = None
handler.doRollover()
after = found()
handler.close()
print(json.dumps([full, again, after, [text.split()[0] for text in failed]]))
'''


@pytest.mark.parametrize("at", ["open", "choose", "copy", "seal"])
def test_on_a_disk_that_is_really_full_nothing_is_lost_and_all_is_compressed_when_there_is_space(
    tmp_path: Path, at: str
) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        ended = run_program([sys.executable, "-c", SCRIPT, str(disk.folder), at])
    assert ended.returncode == 0, ended.stderr
    full, again, after, failed = json.loads(ended.stdout)
    lost = set(failed)
    old = [str(number) for number in range(10)]
    young = [str(number) for number in range(10, 14) if str(number) not in lost]
    assert set(full) == set(again) == {LIVE, OLD}
    assert (full[OLD], again[OLD], again[LIVE]) == (old, old, young)
    assert after == {LIVE: [], f"{LIVE}.1.gz": young, f"{LIVE}.2.gz": old}
    (report,) = (each for each in ended.stderr.splitlines() if CAUSE in each)
    assert "[Errno 28]" in report


# -------------------------------------------------------------------------------------- each system call fails


class FailingOnce(Posix):
    """Lets one of its calls fail: that many calls from when it was told so, if not none."""

    # `close` and the notes fail in silence.
    SAFE = ("close", "close_finally", "put_note", "note_of", "drop_note", "lower_priority", "divert")
    NO_CALLS = ("file_system_table", "descriptor_of", "user_number", "group_number")

    def __init__(self) -> None:
        self._calls_left = 0
        self.failed: Optional[str] = None
        for name in System.__abstractmethods__ - {*self.SAFE, *self.NO_CALLS}:
            vars(self)[name] = self._counted(name, getattr(self, name))

    def fail(self, calls_left: int) -> None:
        self._calls_left, self.failed = calls_left, None

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_call(*args: Any, **options: Any) -> Any:
            self._calls_left -= 1
            if self._calls_left == 0:
                self.failed = name
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*args, **options)

        return fail_or_call


@pytest.mark.parametrize("kind", ["gzip", "command", "object"])
def test_whatever_system_call_fails_nothing_is_lost_or_doubled_and_the_next_upkeep_tidies_up(
    live: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    system = FailingOnce()
    monkeypatch.setattr(base, "SYSTEM", system)
    gunzipped = {"gzip": "gzip", "command": command("gzip -c", 60), "object": Codec()}
    moved = {LIVE: b"", f"{LIVE}.1.gz": line(even, 1, FULL + 1), f"{LIVE}.2.gz": full_file(1)}
    wrong: List[Any] = []
    nth = 0
    while True:
        nth += 1
        for each in live.parent.iterdir():
            each.unlink()
        handler = watched(live, "discard", functools.partial(system.fail, nth), compression=gunzipped[kind])
        log(handler, 1, FULL + 1)
        call = system.failed
        system.fail(0)
        kept = {name: content for name, content in found(live).items() if name != LIVE}
        if handler.failures or call is None:  # the upkeep has come to its end before
            break
        handler.doRollover()  # in the upkeep of which all is made good
        whole = [name for name in (OLD, f"{OLD}.gz") if kept.get(name) == full_file(1)]
        if len(whole) != 1 or found(live) != moved:
            wrong.append((nth, call, sorted(kept), sorted(found(live)), handler.reports))
        handler.close()
    handler.close()
    assert wrong == []
    assert nth > 50


# ------------------------------------------------------------------------------------------ objects that compress


class Codec:
    """Compresses by gzip, and does a deed at some moment, on demand."""

    extension = ".gz"

    def __init__(self, at: str = "", deed: Callable[[str], object] = str) -> None:
        self.at = at
        self.deed = deed

    def do(self, at: str, path: str) -> None:
        if at == self.at:
            self.deed(path)

    def open(self, path: str) -> "CompressedFile":
        self.do("open", path)
        return CompressedFile(self, path)


class CompressedFile:
    def __init__(self, codec: Codec, path: str) -> None:
        self._codec = codec
        self._path = path
        self._file = gzip.open(path, "wb")  # noqa: SIM115 - closed in `close`

    def write(self, data: bytes) -> None:
        self._codec.do("write", self._path)
        self._file.write(data)

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._codec.do("close", self._path)


def fails_with(error: BaseException) -> Callable[[str], object]:
    def fail(_: str) -> None:
        raise error

    return fail


def fail_by_name(path: str) -> None:
    """Fail as codecs do that say which file it was; each file in the making has another name."""
    raise ValueError(f"cannot write to {path}")


@with_both_handlers
@pytest.mark.parametrize("at", ["open", "write", "close"])
@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (fails_with(ValueError("no good")), "no good"),
        (fails_with(OSError(errno.EIO, "broken", "somewhere")), "[Errno 5] broken: 'somewhere'"),
        (fails_with(FileNotFoundError(errno.ENOENT, "no such thing")), "[Errno 2] no such thing"),
        (fails_with(MemoryError()), "MemoryError()"),
        (fail_by_name, "cannot write to "),
    ],
    ids=["value", "os", "not-found", "memory", "by-name"],
)
def test_an_object_that_fails_is_told_of_once_and_asked_again_later(
    live: Path,
    told: Callable[[], List[str]],
    make: Make,
    at: str,
    deed: Callable[[str], object],
    reason: str,
) -> None:
    codec = Codec(at, deed)
    handler = make(live, compression=codec)
    log(handler, 1, 3 * FULL + 1)
    assert found(live) == backups(make, "", "", "")
    (report,) = told()
    assert report.startswith(CAUSE + reason)

    codec.at = ""
    log(handler, 3 * FULL + 2, 4 * FULL + 1)
    assert found(live) == backups(make, *4 * [".gz"])
    codec.at = at
    log(handler, 4 * FULL + 2, 5 * FULL + 1)
    assert len(told()) == 1
    codec.at = ""
    handler.close()
    assert found(live) == backups(make, *5 * [".gz"])


def test_two_causes_are_told_of_once_each(live: Path, told: Callable[[], List[str]]) -> None:
    codec = Codec("open", fails_with(ValueError("no good")))
    handler = by_size(live, compression=codec)
    log(handler, 1, FULL + 1)
    codec.deed = fails_with(ValueError("no better"))
    log(handler, FULL + 2, 2 * FULL + 1)
    codec.deed = fails_with(ValueError("no good"))
    log(handler, 2 * FULL + 2, 3 * FULL + 1)
    codec.at = ""
    handler.close()
    assert told() == [CAUSE + "no good", CAUSE + "no better"]


class Elsewhere:
    """Writes a file beside the one that it was given."""

    extension = ".gz"

    def open(self, path: str) -> Any:
        return gzip.open(str(Path(path).with_name("elsewhere")), "wb")


class InItsPlace:
    """Puts a file of its own in the place of the one that it was given."""

    extension = ".gz"

    def open(self, path: str) -> Any:
        other = path + ".other"
        Path(other).touch()
        Path(other).replace(path)
        return gzip.open(path, "wb")


class Nothing:
    """Writes nothing."""

    extension = ".gz"

    def open(self, path: str) -> Any:
        assert path.endswith(".tmp")
        return io.BytesIO()


class NoFile:
    """Opens no file."""

    extension = ".gz"

    def open(self, path: str) -> Any:
        assert path.endswith(".tmp")


@pytest.mark.parametrize("codec", [Elsewhere(), InItsPlace(), Nothing(), NoFile()])
def test_an_object_that_writes_no_file_at_its_path_is_told_of_and_the_backup_stays(
    live: Path, told: Callable[[], List[str]], codec: Any
) -> None:
    handler = by_size(live, compression=codec)
    log(handler, 1, 2 * FULL + 1)
    handler.close()
    files = found(live)
    files.pop("elsewhere", None)
    assert files == backups(by_size, "", "")
    (report,) = told()
    assert report.startswith(CAUSE)


class Unbuffered:
    """Copies; its file writes as much as it can at a time, and says how much, as raw files do."""

    extension = ".copy"

    def open(self, path: str) -> Any:
        file = open(path, "wb", buffering=0)  # noqa: SIM115, PTH123 - closed by who asked for it
        write_all = file.write

        class File:
            def write(self, data: bytes) -> int:
                return int(write_all(bytes(data[:100])) or 0)

            def close(self) -> None:
                file.close()

        return File()


def test_of_an_object_that_writes_less_than_it_was_given_nothing_is_lost(live: Path) -> None:
    handler = watched(live, compression=Unbuffered())
    log(handler, 1, FULL + 1)
    handler.close()
    name = OLD if handler.reports else f"{OLD}.copy"  # either will do: it fails, or the rest is written, too
    assert found(live) == {LIVE: line(even, 1, FULL + 1), name: full_file(1)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # even of SystemExit
@pytest.mark.parametrize("at", ["open", "write", "close"])
def test_an_object_that_ends_its_thread_takes_nothing_along(live: Path, at: str) -> None:
    plant(live.parent, {OLD: CONTENT})
    codec = Codec(at, fails_with(SystemExit()))
    handler = watched(live, compression=codec, upkeep="background")
    log(handler, 1, 1)
    until(lambda: threading.active_count() == 1, "end of the thread")
    assert found(live) == {LIVE: line(even, 1, 1), OLD: CONTENT}
    codec.at = ""
    handler.close()
    assert found(live) == {LIVE: line(even, 1, 1), f"{OLD}.gz": CONTENT}


def test_a_backup_that_somebody_still_appends_to_is_not_tried_over_and_over_in_one_turn(live: Path) -> None:
    """As a program does that has opened the log by other means, and does not know of rotations."""
    plant(live.parent, {OLD: CONTENT})
    tries: List[str] = []

    def append_and_fail(path: str) -> None:
        tries.append(path)
        if len(tries) < 20:
            with live.with_name(OLD).open("ab") as stream:
                stream.write(b"one more\n")
        raise ValueError("no good")

    handler = watched(live, compression=Codec("open", append_and_fail))
    log(handler, 1, 1)
    assert len(tries) < 5
    assert handler.reports == [CAUSE + "no good"]
    vars(handler)["_packing"] = None
    handler.close()
    assert found(live) == {LIVE: line(even, 1, 1), OLD: CONTENT + b"one more\n" * len(tries)}


def test_what_could_not_be_compressed_is_handed_on_as_it_is_and_only_once(live: Path) -> None:
    given: List[str] = []
    codec = Codec("close", fails_with(ValueError("no good")))
    handler = watched(live, compression=codec, on_rotate=lambda path: given.append(Path(path).name))
    log(handler, 1, 2 * FULL + 1)
    assert given == [OLD, OLD]
    codec.at = ""
    log(handler, 2 * FULL + 2, 3 * FULL + 1)
    handler.close()
    assert given == [OLD, OLD, f"{OLD}.gz"]
    assert found(live) == backups(by_size, ".gz", ".gz", ".gz")


# --------------------------------------------------------------------------------------------------- commands

LARGE = 2**20
"""Bytes that no pipe takes at once."""


def command(script: str, timeout: float = 0.2) -> Dict[str, Any]:
    return {"command": ["sh", "-c", script], "extension": ".gz", "timeout": timeout}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"command": ["no-such-command-at-all"], "extension": ".gz"}, "[Errno 2] "),
        ({"command": ["/"], "extension": ".gz"}, "[Errno 13] "),
        (
            command("cat > /dev/null; echo it will not do >&2; exit 3"),
            "[Errno 5] ended with 3: it will not do",
        ),
        (command("gzip -c; exit 3"), "[Errno 5] ended with 3: "),
        (command("exit 3"), "[Errno 5] ended with 3: "),
        (command("head -c 100000 | gzip -c"), "[Errno 32] did not read all of its input"),
        (command("exec <&-; " + LONG_SLEEP), "[Errno 110] has done nothing for 0.2 seconds"),
        (command(LONG_SLEEP), "[Errno 110] has done nothing for 0.2 seconds"),
        (command("gzip -c; " + LONG_SLEEP), "[Errno 110] has done nothing for 0.2 seconds"),
        (command("gzip -c; kill -KILL $$"), "[Errno 5] ended with -9: "),
        (command("kill -TERM $$"), "[Errno 5] ended with -15: "),
        (command("cat > /dev/null"), "[Errno 5] the codec has written nothing"),
    ],
    ids=lambda given: given["command"][-1].replace("/", "|") if isinstance(given, dict) else "",
)
def test_a_command_that_does_not_do_is_told_of_once_and_ended_and_the_backup_stays(
    live: Path, told: Callable[[], List[str]], given: Dict[str, Any], reason: str
) -> None:
    content = os.urandom(LARGE)
    plant(live.parent, {OLD: content})
    handler = by_size(live, compression=given)
    log(handler, 1, 1)
    assert found(live) == {LIVE: line(even, 1, 1), OLD: content}
    (report,) = told()
    assert report.startswith(CAUSE + reason)
    handler._log._take_over()  # as the next rotation does
    assert found(live) == {LIVE: line(even, 1, 1), OLD: content}
    assert told() == []

    given.update(command=["gzip", "-c"], timeout=60)
    vars(handler)["_packing"] = None
    successor = by_size(live, compression=given)
    log(successor, 2, 2)
    assert found(live) == {LIVE: records(1, 2), f"{OLD}.gz": content}
    successor.close()
    handler.close()
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)
    assert told() == []


@pytest.mark.parametrize(
    "script", ["sleep 1000", "cat | sleep 1000", "sleep 1000 | cat", "gzip -c; sleep 1000"]
)
def test_of_a_command_that_hangs_no_process_is_left(live: Path, tmp_path: Path, script: str) -> None:
    """All that it has started has a pipe open; that this ends shows that all have."""
    plant(live.parent, {OLD: CONTENT})
    pipe, leader = tmp_path / "pipe", tmp_path / "leader"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    handler = watched(live, compression=command(f"exec 9>{pipe}; echo $$ > {leader}; {script}; :"))
    log(handler, 1, 1)
    vars(handler)["_packing"] = None
    handler.close()
    assert len(handler.reports) == 1
    os.set_blocking(reader, True)
    end = threading.Thread(target=os.read, args=(reader, 1))
    end.start()
    end.join(2)
    is_left = end.is_alive()
    if is_left:
        os.killpg(int(leader.read_text()), signal.SIGKILL)
        end.join()
    os.close(reader)
    assert not is_left


def log_and_wait(connection: Connection, live: Path, script: str) -> None:
    handler = watched(live, compression=command(script, timeout=60), upkeep="background")
    log(handler, 1, 1)
    connection.send(None)
    connection.recv()


def test_what_a_command_makes_for_a_process_that_was_killed_is_removed_by_the_next(
    live: Path, tmp_path: Path, children: Children
) -> None:
    """Although the command lives on."""
    plant(live.parent, {OLD: CONTENT})
    leader = tmp_path / "leader"
    os.mkfifo(leader)
    script = f"exec 8>&1; echo some bytes; echo $$ > {leader}; {LONG_SLEEP}"
    dying = children.start(log_and_wait, live, script)
    dying.answer()
    group = int(leader.read_text())  # the command is at work
    try:
        os.kill(dying.pid, signal.SIGKILL)
        assert dying.ended() == -9
        handler = watched(live, compression="gzip")
        log(handler, 2, 2)
        assert handler.wait_for_upkeep(10)
        handler.close()
        os.killpg(group, 0)
    finally:
        os.killpg(group, signal.SIGKILL)
    assert found(live) == {LIVE: records(1, 2), f"{OLD}.gz": CONTENT}
    assert handler.reports == []


def test_a_command_that_is_slow_but_goes_on_is_waited_for(live: Path) -> None:
    plant(live.parent, {OLD: CONTENT})
    slow = "gzip -c > slow; for piece in 0 1 2 3 4 5; do sleep 0.1; head -c 20; done < slow; tail -c +121 slow; rm slow"
    handler = watched(live, compression=command(f"cd {live.parent}; {slow}", timeout=0.4))
    log(handler, 1, 1)
    handler.close()
    assert found(live) == {LIVE: line(even, 1, 1), f"{OLD}.gz": CONTENT}
    assert handler.reports == []


@contextlib.contextmanager
def sigchld(action: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def collect(_: int, __: Optional[FrameType]) -> None:
    """Collect all children that have ended, as servers do."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.parametrize("action", [signal.SIG_IGN, collect], ids=["ignored", "collected"])
@pytest.mark.parametrize("script", ["gzip -c", "gzip -c; exit 1"])
def test_a_command_of_which_nobody_can_tell_how_it_ended_has_failed(
    live: Path, told: Callable[[], List[str]], action: Any, script: str
) -> None:
    plant(live.parent, {OLD: CONTENT})
    with sigchld(action):
        handler = by_size(live, compression=command(script, timeout=60))
        log(handler, 1, FULL + 1)
        assert found(live) == {
            LIVE: line(even, 1, FULL + 1),
            OLD: full_file(1),
            f"{LIVE}.2": CONTENT,
        }
        (report,) = told()
        assert report.startswith(f"{CAUSE}[Errno {errno.ECHILD}] ended, but somebody else has been told how")
    vars(handler)["_packing"] = None
    handler.close()
    successor = by_size(live, use_gzip=True)
    log(successor, FULL + 2, FULL + 2)
    successor.close()
    assert found(live) == {
        LIVE: records(FULL + 1, FULL + 2),
        f"{OLD}.gz": full_file(1),
        f"{LIVE}.2.gz": CONTENT,
    }


# ---------------------------------------------------------------------------------- deeds of an operator meanwhile

HALF = CONTENT[: len(CONTENT) // 2]
MINE = b"an operator's own\n"


def delete(path: Path) -> None:
    if path.exists():
        path.unlink()


def move_away(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name("moved"))


def link(path: Path) -> None:
    if path.exists():
        os.link(path, path.with_name("moved"))


def cut(path: Path) -> None:
    if path.exists():
        os.truncate(path, len(HALF))


def make_a_directory_of_it(path: Path) -> None:
    if path.exists():
        path.unlink()
        path.mkdir()


def replace(path: Path) -> None:
    if path.exists():
        other = path.with_name("other")
        other.write_bytes(MINE)
        other.replace(path)


def compress_by_hand(path: Path) -> None:
    if path.exists():
        subprocess.run([GZIP, "-f", str(path)], check=True)


def compress_a_copy_by_hand(path: Path) -> None:
    if path.exists():
        subprocess.run([GZIP, "-f", "-k", str(path)], check=True)


def put_something_in_the_way(path: Path) -> None:
    target = path.with_name(path.name + ".gz")
    if not target.exists():
        target.write_bytes(gzip.compress(MINE))


OperatorsDeed = Callable[[Path], None]
BEFORE = ("choose", "copy", "seal", "complete")
UP_TO_DROP = (*BEFORE, "publish")
PLAIN, DONE = {OLD: CONTENT}, {f"{OLD}.gz": CONTENT}


def at(steps: Iterable[str], files: Files) -> Dict[str, Files]:
    return dict.fromkeys(steps, files)


OUTCOMES: Dict[OperatorsDeed, Dict[str, Files]] = {
    delete: at(UP_TO_DROP, {}),
    move_away: at(UP_TO_DROP, {"moved": CONTENT}),
    link: at(UP_TO_DROP, {"moved": CONTENT, **DONE}),
    cut: {"choose": {f"{OLD}.gz": HALF}, "copy": {OLD: HALF}},
    make_a_directory_of_it: at(BEFORE, {f"{OLD}/": b""}),
    replace: at(BEFORE, {f"{OLD}.gz": MINE}),
    compress_by_hand: at(BEFORE, DONE),
    compress_a_copy_by_hand: at(BEFORE, {**PLAIN, **DONE}),
    put_something_in_the_way: at(BEFORE, {**PLAIN, f"{OLD}.gz": MINE}),
}
"""What the folder of a log holds beside the live file, after each deed at a step; at all others, `DONE`."""
AFTER_ANOTHER_TURN: Dict[OperatorsDeed, Dict[str, Files]] = {
    compress_a_copy_by_hand: at(BEFORE, DONE),
    cut: {"copy": {f"{OLD}.gz": HALF}},
}
REPORTS: Dict[OperatorsDeed, Dict[str, int]] = {
    cut: {"copy": 1},
    compress_a_copy_by_hand: dict.fromkeys(BEFORE, 1),
    put_something_in_the_way: dict.fromkeys(BEFORE, 1),
}


@pytest.mark.skipif(not GZIP, reason="there is no gzip")
@pytest.mark.parametrize(
    ("deed", "step"),
    [
        pytest.param(deed, step, id=f"{deed.__name__}-{step}")
        for deed in OUTCOMES
        for step in STEPS
        # What happens between two adjacent system calls is another test's.
        if step != "publish" or "publish" in OUTCOMES[deed] or deed in {cut, put_something_in_the_way}
    ],
)
def test_whatever_an_operator_does_to_the_backup_meanwhile_is_respected(
    live: Path, told: Callable[[], List[str]], deed: OperatorsDeed, step: str
) -> None:
    plant(live.parent, {OLD: CONTENT})

    class Interrupted(ConcurrentRotatingFileHandler):
        is_done = False

        def _after_step(self, name: str) -> None:
            if name == step and not self.is_done:
                self.is_done = True
                deed(live.with_name(OLD))

    handler = Interrupted(live, backupCount=MANY, use_gzip=True, upkeep="inline")
    log(handler, 1, 1)
    now = OUTCOMES[deed].get(step, DONE)
    assert found(live) == {LIVE: line(even, 1, 1), **now}
    reports = told()
    assert [each for each in reports if not each.startswith(CAUSE)] == []
    assert len(reports) == REPORTS.get(deed, {}).get(step, 0) or (step == "publish" and len(reports) == 1)

    handler._log._take_over()  # as the next rotation does
    handler.close()
    later = AFTER_ANOTHER_TURN.get(deed, {}).get(step, now)
    assert found(live) == {LIVE: line(even, 1, 1), **later}
    assert len(told()) <= (deed is put_something_in_the_way)  # the same thing, in the words of another step


@pytest.mark.parametrize("deed", [replace, make_a_directory_of_it])
def test_what_is_put_in_the_place_of_a_backup_in_the_last_moment_is_not_deleted(
    live: Path, deed: OperatorsDeed
) -> None:
    plant(live.parent, {OLD: CONTENT})
    handler = watched(live, "publish", lambda: deed(live.with_name(OLD)))
    log(handler, 1, 1)
    handler.close()
    files = found(live)
    assert files.pop(LIVE) == line(even, 1, 1)
    kept = {OLD: MINE} if deed is replace else {f"{OLD}/": b""}
    compressed = {f"{OLD}.gz": MINE} if deed is replace else {}
    assert files in (kept, {**kept, **DONE}, compressed, {**DONE, f"{LIVE}.2.gz": MINE})


def test_a_backup_with_two_different_files_counts_once_and_both_move_together(
    live: Path, told: Callable[[], List[str]]
) -> None:
    plant(live.parent, {OLD: CONTENT, f"{OLD}.gz": gzip.compress(MINE)})
    handler = ConcurrentRotatingFileHandler(
        live, maxBytes=FULL * EVEN, backupCount=2, use_gzip=True, upkeep="inline"
    )
    log(handler, 1, 1)
    (report,) = told()
    assert report.startswith(CAUSE)
    log(handler, 2, FULL + 1)
    assert found(live) == {
        LIVE: line(even, 1, FULL + 1),
        f"{OLD}.gz": full_file(1),
        f"{LIVE}.2": CONTENT,
        f"{LIVE}.2.gz": MINE,
    }
    log(handler, FULL + 2, 2 * FULL + 1)
    assert found(live) == {
        LIVE: line(even, 1, 2 * FULL + 1),
        f"{OLD}.gz": full_file(2),
        f"{LIVE}.2.gz": full_file(1),
    }
    handler.close()
    assert told() == []


@pytest.mark.parametrize("step", [*BEFORE, "clear"])
@pytest.mark.parametrize("keep", [1, MANY])
def test_a_backup_that_a_peer_renames_or_deletes_meanwhile_is_followed(
    live: Path, step: str, keep: int
) -> None:
    plant(live.parent, {OLD: CONTENT, LIVE: MINE})
    peer = watched(live, backupCount=keep)
    handler = watched(live, step, peer.doRollover, backupCount=keep)
    log(handler, 1, 1)
    handler.close()
    peer.close()
    older = {} if keep == 1 else {f"{LIVE}.2.gz": CONTENT}
    assert found(live) == {LIVE: line(even, 1, 1), f"{OLD}.gz": MINE, **older}
    assert (handler.reports, peer.reports) == ([], [])


# --------------------------------------------------------------------------------- helpers that go meanwhile


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("helper", [LOCK, PAGE])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_helper_that_is_deleted_meanwhile_costs_nothing_but_time(
    live: Path, monkeypatch: pytest.MonkeyPatch, helper: str, step: str, replaced: bool
) -> None:
    survey = 0.02
    for module in (state, logfile):
        monkeypatch.setattr(module, "SURVEY", survey)
    plant(live.parent, {OLD: CONTENT})

    def lose() -> None:
        live.with_name(helper).unlink()
        if replaced:
            other = WatchedHandler(str(live))
            log(other, 2, 2)
            other.close()

    handler = watched(live, step, lose)
    log(handler, 1, 1)
    if not replaced:
        log(handler, 2, 2)
    files = found(live)
    assert sorted(files.pop(LIVE).splitlines()) == records(1, 2).splitlines()
    assert files in (PLAIN, DONE)
    time.sleep(survey + GRACE)  # until nobody can have the older page
    log(handler, 3, 3)
    assert handler.wait_for_upkeep(5)
    handler.close()
    files = found(live)
    assert sorted(files.pop(LIVE).splitlines()) == records(1, 3).splitlines()
    assert files == DONE
    assert len(handler.reports) <= 1


# ------------------------------------------------------------------------------------------- rights of others


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return the path of a log whose directory belongs to nobody; the one that pytest makes is closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        with as_nobody():
            if not os.access(path, os.X_OK):
                pytest.skip(f"nobody cannot reach {path}")
        yield path / LIVE
        path.chmod(0o755)


def log_weakly(handler: ConcurrentHandler, first: int, last: int) -> None:
    handler._log.files._blocked_until = float("-inf")  # as a second after a rotation that has failed
    with as_nobody():
        log(handler, first, last)


def test_in_a_directory_that_may_only_be_read_backups_stay_until_it_may_be_written_to(
    shared: Path, told: Callable[[], List[str]]
) -> None:
    handler = by_size(shared, use_gzip=True)
    log_weakly(handler, 1, 1)
    plant(shared.parent, {OLD: CONTENT})
    if os.geteuid() == 0:
        os.chown(shared.with_name(OLD), NOBODY, NOBODY)
    shared.parent.chmod(0o555)
    with as_nobody():
        for _ in range(2):
            assert handler.wait_for_upkeep(5)
    assert found(shared) == {LIVE: line(even, 1, 1), OLD: CONTENT}
    (report,) = told()
    assert report.startswith(f"{CAUSE}[Errno 13] ")
    log_weakly(handler, 2, FULL + 1)  # which cannot be rotated, either
    assert found(shared) == {LIVE: records(1, FULL + 1), OLD: CONTENT}
    assert len(told()) == 1

    shared.parent.chmod(0o755)
    log_weakly(handler, FULL + 2, FULL + 2)
    with as_nobody():
        handler.close()
    assert found(shared) == {
        LIVE: line(even, 1, FULL + 2),
        f"{OLD}.gz": records(1, FULL + 1),
        f"{LIVE}.2.gz": CONTENT,
    }
    assert told() == []


def test_where_not_even_helpers_can_be_made_the_upkeep_comes_to_an_end_and_leaves_all_as_it_is(
    shared: Path,
) -> None:
    plant(shared.parent, {OLD: CONTENT, LIVE: b""})
    shared.chmod(0o666)
    shared.parent.chmod(0o555)
    handler = watched(shared)
    log_weakly(handler, 1, 1)
    with as_nobody():
        assert handler.wait_for_upkeep(5)
        handler.close()
    assert found(shared) == {LIVE: line(even, 1, 1), OLD: CONTENT}
    assert {each.name for each in shared.parent.iterdir()} == {LIVE, OLD}


@as_root
@pytest.mark.parametrize("readable", [True, False])
def test_in_a_sticky_directory_the_backup_of_another_user_stays_and_all_others_are_compressed(
    shared: Path, told: Callable[[], List[str]], readable: bool
) -> None:
    handler = by_size(shared, use_gzip=True)
    log_weakly(handler, 1, 1)
    shared.parent.chmod(0o1777)
    os.chown(shared.parent, 0, 0)
    plant(shared.parent, {OLD: CONTENT, f"{LIVE}.2": MINE})
    shared.with_name(OLD).chmod(0o644 if readable else 0o600)
    os.chown(shared.with_name(f"{LIVE}.2"), NOBODY, NOBODY)
    before = shared.with_name(OLD).stat()
    with as_nobody():
        for _ in range(2):
            assert handler.wait_for_upkeep(5)
    assert found(shared) == {LIVE: line(even, 1, 1), OLD: CONTENT, f"{LIVE}.2.gz": MINE}
    # The very file, untouched; its time of access (the eighth) is that of this test's own reading.
    assert shared.with_name(OLD).stat()[: stat.ST_ATIME] == before[: stat.ST_ATIME]
    (report,) = told()
    assert report.startswith(f"{CAUSE}[Errno {1 if readable else 13}] ")

    # Its owner finds nothing in the way, once the log is not a stranger's.
    for name in (LIVE, *HELPERS):
        os.chown(shared.with_name(name), 0, 0)
    owner = by_size(shared, use_gzip=True)
    log(owner, 2, 2)
    owner.close()
    assert found(shared) == {LIVE: records(1, 2), f"{OLD}.gz": CONTENT, f"{LIVE}.2.gz": MINE}
    with as_nobody():
        handler.close()
    assert told() == []


def test_a_directory_that_cannot_be_listed_is_told_of_once_and_logging_goes_on(shared: Path) -> None:
    handler = watched(shared)
    shared.parent.chmod(0o333)
    log_weakly(handler, 1, 3 * FULL + 1)
    shared.parent.chmod(0o755)
    assert found(shared) == backups(by_size, "", "", "")
    assert len(handler.reports) == 1
    with as_nobody():
        handler.close()
    assert found(shared) == backups(by_size, ".gz", ".gz", ".gz")
    assert handler.failures == []


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_with_helpers_that_may_not_be_written_to_the_upkeep_comes_to_an_end(shared: Path, mode: int) -> None:
    first = watched(shared)
    log_weakly(first, 1, 1)
    with as_nobody():
        first.close()
    plant(shared.parent, {OLD: CONTENT})
    if os.geteuid() == 0:
        os.chown(shared.with_name(OLD), NOBODY, NOBODY)
    for name in HELPERS:
        shared.with_name(name).chmod(mode)
        if os.geteuid() == 0:
            os.chown(shared.with_name(name), 0, 0)
    handler = watched(shared)
    log_weakly(handler, 2, 2)
    with as_nobody():
        assert handler.wait_for_upkeep(5)
        handler.close()
    for name in HELPERS:
        shared.with_name(name).chmod(0o644)
    assert found(shared) == {LIVE: records(1, 2), OLD: CONTENT}


def test_the_scribes_see_no_failure_while_nothing_can_be_compressed(live: Path) -> None:
    handler = watched(live, compression=Codec("close", fails_with(ValueError("no good"))))
    said = Scribe(handler, 1).log(5 * FULL + 1)
    assert (said.failures, said.reports, said.rotations) == ((), (CAUSE + "no good",), 5)
    vars(handler)["_packing"] = None
    handler.close()
    assert found(live) == backups(by_size, *5 * [""])


@pytest.mark.parametrize("which", ["draft", "backup"])
def test_who_closes_all_descriptors_meanwhile_gets_nothing_written_into_his_own_files(
    live: Path, which: str
) -> None:
    """As code does that turns a process into a daemon; and the numbers are used again."""
    plant(live.parent, {OLD: CONTENT})
    own = live.with_name("own")
    own.write_bytes(b"")
    own.chmod(0o644)
    taken: List[int] = []

    def close_and_take() -> None:
        (turn,) = handler._log.background._turns
        compressor = turn._compressor
        assert compressor is not None
        assert compressor._draft is not None
        fd = compressor._draft.fd if which == "draft" else compressor._fd
        os.close(fd)
        if which == "backup":
            own.write_bytes(b"S" * len(CONTENT))
        taken.append(os.open(own, os.O_RDWR))
        assert taken == [fd]

    handler = watched(live, "copy", close_and_take, chmod=0o600)
    before = own.stat().st_mode
    log(handler, 1, 1)
    content = own.read_bytes()
    assert content == (b"" if which == "draft" else b"S" * len(CONTENT))
    assert own.stat().st_mode == before
    assert [each[: len(CAUSE)] for each in handler.reports] == [CAUSE]
    os.close(taken.pop())
    handler.close()
    assert found(live) == {LIVE: line(even, 1, 1), "own": content, f"{OLD}.gz": CONTENT}


def test_a_daemon_without_standard_streams_prints_into_no_file_of_ours(live: Path) -> None:
    code = f"""
import os, sys
os.close(1)
from concurrent_log_handler._posix import Posix
fd = Posix().create({str(live)!r}, 0o600)
os.write(2, b"%d" % fd)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.PIPE)
    assert int(done.stderr) > 2
