"""Devices, pipes and sockets in the place of the log: written to, and nothing else."""

import errno
import logging
import os
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from support.folder import contents

Make = Callable[..., ConcurrentRotatingFileHandler]

ARGUMENTS = [{}, {"locking": "exclusive"}, {"keep_file_open": False}, {"mode": "w"}]
in_all_ways = pytest.mark.parametrize("arguments", ARGUMENTS)
both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
NULL, FULL = os.makedev(1, 3), os.makedev(1, 7)

if not hasattr(os, "mkfifo"):
    pytest.skip("there are no such things", allow_module_level=True)


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory whose name is short: a socket's address has room for a hundred bytes."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def failures() -> List[Tuple[str, Optional[int]]]:
    """Return the list of all records that could not be written, with the reasons."""
    return []


@pytest.fixture
def make(folder: Path, failures: List[Tuple[str, Optional[int]]]) -> Iterator[Make]:
    made: List[ConcurrentRotatingFileHandler] = []

    def note(record: logging.LogRecord) -> None:
        failures.append((record.msg, getattr(sys.exc_info()[1], "errno", None)))

    def make_one(**arguments: Any) -> ConcurrentRotatingFileHandler:
        handler = ConcurrentRotatingFileHandler(folder / "app.log", **arguments)
        vars(handler)["handleError"] = note
        made.append(handler)
        return handler

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


def names(folder: Path) -> List[str]:
    return sorted(each.name for each in folder.iterdir())


def received(fd: int) -> bytes:
    """Return what there is to be read, without waiting for more."""
    parts = []
    while select.select([fd], [], [], 0)[0]:
        part = os.read(fd, 100_000)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


# ------------------------------------------------------------------------------------------------------ pipes


@pytest.fixture
def reader(folder: Path) -> Iterator[int]:
    """Return the reading end of a pipe whose name is that of the log."""
    os.mkfifo(folder / "app.log")
    fd = os.open(folder / "app.log", os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


@in_all_ways
def test_a_pipe_is_written_to_and_nothing_else(
    make: Make, folder: Path, failures: List[Any], reader: int, arguments: Any
) -> None:
    handler = make(maxBytes=1, backupCount=3, **arguments)
    log(handler, "one", "two")
    handler.doRollover()
    look_now(handler)
    log(handler, "three")
    handler.close()
    log(handler, "four")
    handler.doRollover()
    assert received(reader) == b"one\ntwo\nthree\nfour\n"
    assert (names(folder), failures, handler.num_rollovers) == (["app.log"], [], 0)
    assert not handler.shouldRollover(logging.makeLogRecord({}))


def test_a_record_waits_for_the_first_reader_of_a_pipe(make: Make, folder: Path, failures: List[Any]) -> None:
    """As `open` does, and with it every handler of the standard library."""
    os.mkfifo(folder / "app.log")
    thread = threading.Thread(target=log, args=(make(), "one", "two"))
    thread.start()
    try:
        with (folder / "app.log").open("rb", buffering=0) as stream:
            lines = b""
            while lines.count(b"\n") < 2:
                lines += stream.read(100)
    finally:
        thread.join(30)
    assert (lines, names(folder), failures) == (b"one\ntwo\n", ["app.log"], [])


def test_a_pipe_that_lost_its_reader_is_written_to_again_when_it_has_one(
    make: Make, folder: Path, failures: List[Any]
) -> None:
    os.mkfifo(folder / "app.log")
    first = os.open(folder / "app.log", os.O_RDONLY | os.O_NONBLOCK)
    handler = make()
    log(handler, "one")
    assert received(first) == b"one\n"
    os.close(first)
    log(handler, "two")
    second = os.open(folder / "app.log", os.O_RDONLY | os.O_NONBLOCK)
    log(handler, "three")
    assert received(second) == b"three\n"
    os.close(second)
    assert (names(folder), failures) == (["app.log"], [("two", errno.EPIPE)])


def test_a_long_record_goes_through_a_pipe_in_pieces(make: Make, reader: int, failures: List[Any]) -> None:
    os.set_blocking(reader, True)
    text = "x" * 1_000_000
    thread = threading.Thread(target=log, args=(make(), text, "after"))
    thread.start()
    try:
        parts = [os.read(reader, 100_000)]
        while not parts[-1].endswith(b"after\n"):
            parts.append(os.read(reader, 100_000))
    finally:
        thread.join(30)
    assert b"".join(parts) == text.encode() + b"\nafter\n"
    assert failures == []


def test_a_pipe_gets_no_byte_order_mark_or_header_of_a_file(make: Make, reader: int) -> None:
    """A file begins with them; a pipe has no beginning that its writer could know of."""
    log(make(encoding="utf-16-le", header="# head"), "one")
    assert received(reader).decode("utf-16-le") in ("one\n", "# head\none\n")


# ---------------------------------------------------------------------------------------------------- devices


def make_device(path: Path, device: int) -> None:
    """Make a device of our own: run as root, a fault would take away the machine's."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, device)
        with path.open("wb"):
            pass
    except PermissionError:
        pytest.skip("may not make devices")


def is_device(path: Path, device: int) -> bool:
    status = path.stat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == device


@in_all_ways
def test_a_device_is_written_to_and_nothing_else(
    make: Make, folder: Path, failures: List[Any], arguments: Any
) -> None:
    make_device(folder / "app.log", NULL)
    handler = make(maxBytes=1, backupCount=3, chmod=0o600, **arguments)
    log(handler, "one", "two")
    handler.doRollover()
    look_now(handler)
    log(handler, "three")
    handler.close()
    handler.doRollover()
    log(handler, "four")
    assert (names(folder), failures, handler.num_rollovers) == (["app.log"], [], 0)
    assert is_device(folder / "app.log", NULL)
    assert stat.S_IMODE((folder / "app.log").stat().st_mode) & 0o600 == 0o600


@in_all_ways
def test_a_link_to_a_device_stays_one(make: Make, folder: Path, failures: List[Any], arguments: Any) -> None:
    (folder / "devices").mkdir()
    make_device(folder / "devices" / "null", NULL)
    (folder / "app.log").symlink_to(folder / "devices" / "null")
    handler = make(maxBytes=1, backupCount=3, **arguments)
    log(handler, "one", "two")
    handler.doRollover()
    log(handler, "three")
    assert (names(folder), names(folder / "devices")) == (["app.log", "devices"], ["null"])
    assert (folder / "app.log").is_symlink()
    assert failures == []


@in_all_ways
def test_a_device_that_takes_nothing_is_told_of(
    make: Make, folder: Path, failures: List[Any], arguments: Any
) -> None:
    make_device(folder / "app.log", FULL)
    log(make(maxBytes=1, **arguments), "one", "two")
    assert failures == [("one", errno.ENOSPC), ("two", errno.ENOSPC)]
    assert names(folder) == ["app.log"]


# ---------------------------------------------------------------------------------------------------- sockets


class Server:
    """Listens at the path of the log."""

    def __init__(self, path: Path, kind: socket.SocketKind) -> None:
        self._kind = kind
        self._socket = socket.socket(socket.AF_UNIX, kind)
        self._socket.settimeout(5)
        self._socket.bind(str(path))
        self._connection: Optional[socket.socket] = None
        if kind != socket.SOCK_DGRAM:
            self._socket.listen()

    def receive(self) -> bytes:
        """Return what has come, of connections only the first one's."""
        if self._kind == socket.SOCK_DGRAM:
            return received(self._socket.fileno())
        if self._connection is None:
            self._connection, _ = self._socket.accept()
        return received(self._connection.fileno())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._socket.close()


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[socket.SocketKind], Server]]:
    """Start servers at the path of the log, which are closed in the end."""
    servers: List[Server] = []

    def start(kind: socket.SocketKind) -> Server:
        servers.append(Server(folder / "app.log", kind))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[socket.SocketKind], Server]
KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM]
if sys.platform.startswith("linux"):
    KINDS.append(socket.SOCK_SEQPACKET)
all_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@all_kinds
@in_all_ways
def test_a_socket_is_written_to_and_nothing_else(
    make: Make, folder: Path, failures: List[Any], serve: Serve, kind: socket.SocketKind, arguments: Any
) -> None:
    server = serve(kind)
    handler = make(maxBytes=1, backupCount=3, **arguments)
    log(handler, "one", "two")
    handler.doRollover()
    look_now(handler)
    log(handler, "three")
    handler.doRollover()
    assert server.receive() == b"one\ntwo\nthree\n"
    handler.close()
    assert (names(folder), failures, handler.num_rollovers) == (["app.log"], [], 0)


@all_kinds
def test_a_server_that_was_started_anew_gets_what_comes_then(
    make: Make, folder: Path, failures: List[Any], serve: Serve, kind: socket.SocketKind
) -> None:
    first = serve(kind)
    handler = make()
    log(handler, "one")
    assert first.receive() == b"one\n"
    first.close()
    log(handler, "two")
    (folder / "app.log").unlink()
    second = serve(kind)
    look_now(handler)
    log(handler, "three", "four")
    assert second.receive() == b"three\nfour\n"
    assert [text for text, _ in failures] == ["two"]
    assert failures[0][1] in (errno.EPIPE, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN)
    assert names(folder) == ["app.log"]


@all_kinds
def test_a_socket_without_a_server_is_told_of(
    make: Make, folder: Path, failures: List[Any], serve: Serve, kind: socket.SocketKind
) -> None:
    serve(kind).close()
    log(make(), "one")
    assert failures == [("one", errno.ECONNREFUSED)]
    assert names(folder) == ["app.log"]


# ----------------------------------------------------------------------------------------- standard streams

STREAMS = """
import logging, os, sys
from concurrent_log_handler import ConcurrentRotatingFileHandler

name, arguments = sys.argv[1], eval(sys.argv[2])
handler = ConcurrentRotatingFileHandler(name, maxBytes=1, backupCount=3, **arguments)
stream = sys.stdout if "stdout" in name or name.endswith("/1") else sys.stderr
for text in ("one", "two"):
    handler.handle(logging.makeLogRecord({"msg": text}))
    print("printed", file=stream, flush=True)
handler.doRollover()
handler.handle(logging.makeLogRecord({"msg": "three"}))
handler.close()
print("printed", file=stream, flush=True)
handler.handle(logging.makeLogRecord({"msg": "four"}))
"""
LOGGED = b"one\nprinted\ntwo\nprinted\nthree\nprinted\nfour\n"


@pytest.fixture(params=["pipe", "file", "socket"])
def stream(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tuple[int, int]]:
    """Return the two ends of something that a program is given as its standard error."""
    if request.param == "pipe":
        read, write = os.pipe()
    elif request.param == "file":
        # Not to be appended to, as shells open it for `2>`: then only one position keeps the lines apart.
        write = os.open(folder / "stream", os.O_WRONLY | os.O_CREAT)
        read = os.open(folder / "stream", os.O_RDONLY)
    else:
        one, other = socket.socketpair()
        read, write = one.detach(), other.detach()
    yield read, write
    os.close(read)
    os.close(write)


def helpers_in(directory: str) -> List[str]:
    return [name for name in os.listdir(directory) if name.startswith(".__")]  # noqa: PTH208 - only names


@pytest.mark.skipif(not Path("/dev/stderr").exists(), reason="the streams have no names")
@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/stdout", "/dev/fd/2", "/proc/self/fd/2", "link"])
@pytest.mark.parametrize("arguments", [{}, {"locking": "exclusive"}, {"keep_file_open": False}])
def test_a_standard_stream_is_written_to_among_all_that_is_printed(
    folder: Path, stream: Tuple[int, int], name: str, arguments: Any
) -> None:
    logs = folder / "logs"
    logs.mkdir()
    if name == "link":
        name = str(logs / "app.log")
        (logs / "app.log").symlink_to("/dev/stderr")
    elif not Path(name).exists():
        pytest.skip(f"there is no {name}")
    read, write = stream
    which = "stdout" if name.endswith("stdout") else "stderr"
    others = "stderr" if which == "stdout" else "stdout"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", STREAMS, name, repr(arguments)],
        check=False,
        timeout=60,
        **{which: write, others: subprocess.PIPE},  # type: ignore[call-overload]
    )
    assert (ended.returncode, getattr(ended, others)) == (0, b"")
    assert os.read(read, 1000) == LOGGED
    assert names(logs) == (["app.log"] if name.startswith(str(logs)) else [])
    assert helpers_in("/dev") == []


def test_a_standard_stream_that_is_closed_costs_the_records_and_nothing_else(folder: Path) -> None:
    program = "import os; os.close(2)\n" + STREAMS.replace("print(", "if 0: print(") + "print('the end')"
    command = [sys.executable, "-W", "error", "-c", program, "/dev/stderr", "{}"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=60, cwd=folder)
    assert (ended.returncode, ended.stdout) == (0, b"the end\n")
    assert (names(folder), helpers_in("/dev")) == ([], [])


# ------------------------------------------------------------------- in the place of a log while it is written


@both_modes
def test_a_pipe_that_takes_the_place_of_a_log_is_written_to(
    make: Make, folder: Path, failures: List[Any], locking: str
) -> None:
    handler = make(maxBytes=4, backupCount=3, locking=locking)
    log(handler, "one")
    (folder / "app.log").rename(folder / "aside")
    os.mkfifo(folder / "app.log")
    reader = os.open(folder / "app.log", os.O_RDONLY | os.O_NONBLOCK)
    look_now(handler)
    log(handler, "two", "three")
    handler.doRollover()
    log(handler, "four")
    assert received(reader) == b"two\nthree\nfour\n"
    os.close(reader)
    assert (folder / "aside").read_bytes() == b"one\n"
    assert names(folder) == [".__app.lock", ".__app.state", "app.log", "aside"]

    # And back again: a file is a log.
    (folder / "app.log").unlink()
    look_now(handler)
    log(handler, "five", "six")
    assert contents(folder) == {"app.log": b"six\n", "app.log.1": b"five\n", "aside": b"one\n"}
    assert (failures, handler.num_rollovers) == ([], 1)


@both_modes
def test_a_pipe_that_takes_the_place_of_a_log_and_has_no_reader_does_not_stop_the_program(
    make: Make, folder: Path, failures: List[Any], locking: str
) -> None:
    handler = make(maxBytes=4, backupCount=3, locking=locking)
    log(handler, "one")
    (folder / "app.log").rename(folder / "aside")
    os.mkfifo(folder / "app.log")
    look_now(handler)
    thread = threading.Thread(target=log, args=(handler, "two"), daemon=True)
    thread.start()
    thread.join(5)
    stopped = thread.is_alive()
    reader = os.open(folder / "app.log", os.O_RDONLY | os.O_NONBLOCK)  # lets it go on
    thread.join(30)
    os.close(reader)
    assert not stopped
    assert failures == [("two", errno.ENXIO)]


@both_modes
def test_a_device_that_takes_the_place_of_a_log_is_written_to(
    make: Make, folder: Path, failures: List[Any], locking: str
) -> None:
    handler = make(maxBytes=4, backupCount=3, locking=locking)
    log(handler, "one")
    (folder / "app.log").rename(folder / "aside")
    make_device(folder / "app.log", NULL)
    look_now(handler)
    log(handler, "two", "three")
    handler.doRollover()
    log(handler, "four")
    assert is_device(folder / "app.log", NULL)
    assert (folder / "aside").read_bytes() == b"one\n"
    assert names(folder) == [".__app.lock", ".__app.state", "app.log", "aside"]
    assert (failures, handler.num_rollovers) == ([], 0)


@both_modes
def test_what_takes_the_place_of_a_full_log_is_not_rotated_even_before_it_is_noticed(
    make: Make, folder: Path, failures: List[Any], locking: str
) -> None:
    """Between two looks at the path, the file that is open still gets the records, and is full."""
    handler = make(maxBytes=4, backupCount=3, locking=locking)
    log(handler, "one")
    (folder / "app.log").rename(folder / "aside")
    make_device(folder / "app.log", NULL)
    log(handler, "two")
    handler.doRollover()
    log(handler, "three")
    assert is_device(folder / "app.log", NULL)
    assert names(folder) == [".__app.lock", ".__app.state", "app.log", "aside"]
    assert b"one\ntwo\nthree\n".startswith((folder / "aside").read_bytes())
    assert (failures, handler.num_rollovers) == ([], 0)
