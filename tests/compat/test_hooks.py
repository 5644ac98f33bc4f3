"""What users plug in: namer, rotator, overridden methods; and that their failures cost no record."""

import gzip
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Type

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from support.folder import contents

Make = Callable[..., ConcurrentRotatingFileHandler]
Patch = Callable[[str, Callable[..., Any]], Type[ConcurrentRotatingFileHandler]]

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def failures() -> List[logging.LogRecord]:
    """Return the list of all records that could not be written."""
    return []


@pytest.fixture
def make(tmp_path: Path, failures: List[logging.LogRecord]) -> Iterator[Make]:
    """Make handlers for `app.log`, which are closed in the end; none of their records may fail."""
    made: List[ConcurrentRotatingFileHandler] = []

    def make_one(
        kind: Type[ConcurrentRotatingFileHandler] = ConcurrentRotatingFileHandler, **arguments: Any
    ) -> ConcurrentRotatingFileHandler:
        handler = kind(tmp_path / "app.log", **arguments)
        vars(handler)["handleError"] = failures.append
        made.append(handler)
        return handler

    yield make_one
    for handler in made:
        handler.close()
    assert failures == []


def log(handler: ConcurrentRotatingFileHandler, *texts: str) -> None:
    for text in texts:
        handler.handle(logging.makeLogRecord({"msg": text}))


def wait_no_longer(handler: ConcurrentRotatingFileHandler) -> None:
    """Have the next record try to rotate again, as it would a second after a failure."""
    handler._log.files._blocked_until = float("-inf")


def with_method(
    handler: ConcurrentRotatingFileHandler, name: str, method: Callable[..., Any], on: str, make: Make
) -> ConcurrentRotatingFileHandler:
    """Return a handler with a method of its own: by a subclass, or set on the handler."""
    if on == "instance":
        setattr(handler, name, method.__get__(handler))
        return handler
    kind: Any = type("Subclass", (ConcurrentRotatingFileHandler,), {name: method})
    return make(kind, maxBytes=handler.maxBytes, backupCount=handler.backupCount)


by_subclass_or_attribute = pytest.mark.parametrize("on", ["subclass", "instance"])

# ------------------------------------------------------------------------------------------------ the namer


def dated(default: str) -> str:
    """Name as the example of 0.9.x does: `app_2026_11_22_(1).log`, with a date that does not change."""
    name, number = default.rsplit(".", maxsplit=1)
    return f"{name.replace('.log', '')}_2026_11_22_({number}).log"


@both_modes
def test_the_namer_names_the_backups(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(maxBytes=1, backupCount=2, locking=locking)
    handler.namer = dated
    log(handler, *"abcd")
    assert contents(tmp_path) == {
        "app.log": b"d\n",
        "app_2026_11_22_(1).log": b"c\n",
        "app_2026_11_22_(2).log": b"b\n",
    }
    assert handler.num_rollovers == 3


@both_modes
def test_the_namer_may_send_the_backups_to_another_directory(
    make: Make, tmp_path: Path, locking: str
) -> None:
    (tmp_path / "old").mkdir()
    handler = make(maxBytes=1, backupCount=2, locking=locking, lock_file_directory=tmp_path / "locks")
    handler.namer = lambda default: str(tmp_path / "old" / Path(default).name)
    log(handler, *"abcd")
    assert {each.name for each in tmp_path.iterdir()} == {"app.log", "old", "locks"}
    assert (tmp_path / "app.log").read_bytes() == b"d\n"
    assert {each.name: each.read_bytes() for each in (tmp_path / "old").iterdir()} == {
        "app.log.1": b"c\n",
        "app.log.2": b"b\n",
    }


@both_modes
@pytest.mark.parametrize("backup_count", [1, 3])
def test_a_namer_that_ignores_the_number_keeps_the_last_backup(
    make: Make, tmp_path: Path, locking: str, backup_count: int
) -> None:
    handler = make(maxBytes=1, backupCount=backup_count, locking=locking)
    handler.namer = lambda _: str(tmp_path / "app.old")
    log(handler, *"abcd")
    assert contents(tmp_path) == {"app.log": b"d\n", "app.old": b"c\n"}


@both_modes
@pytest.mark.parametrize("backup_count", [1, 3])
def test_a_namer_that_gives_backups_the_name_of_the_log_loses_nothing(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str, backup_count: int
) -> None:
    handler, other = (make(maxBytes=1, backupCount=backup_count, locking=locking) for _ in range(2))
    for each in (handler, other):
        each.namer = lambda default: default.rpartition(".")[0]
    for text in "abcd":
        log(handler, text)
        log(other, text.upper())
        wait_no_longer(handler)
    assert contents(tmp_path) == {"app.log": b"a\nA\nb\nB\nc\nC\nd\nD\n"}
    assert len(capsys.readouterr().err.splitlines()) <= 2  # one for each handler


@both_modes
@pytest.mark.parametrize("answer", ["raises", "nothing", "number"])
def test_a_namer_that_fails_is_reported_once_and_the_log_grows(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str, answer: str
) -> None:
    answers: Dict[str, Callable[[str], Any]] = {
        "raises": lambda _: 1 // 0,
        "nothing": lambda _: None,
        "number": lambda _: 5,
    }
    handler = make(maxBytes=1, backupCount=2, locking=locking)
    log(handler, "a")
    handler.namer = answers[answer]
    for text in "bcd":
        log(handler, text)
        wait_no_longer(handler)
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\nd\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'app.log'}: cannot rotate: namer failed" in line
    assert handler.num_rollovers == 0

    handler.namer = dated
    log(handler, "e")
    assert contents(tmp_path) == {"app.log": b"e\n", "app_2026_11_22_(1).log": b"a\nb\nc\nd\n"}


@both_modes
def test_a_namer_that_names_what_cannot_be_is_reported_once_and_the_log_grows(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    handler = make(maxBytes=1, backupCount=2, locking=locking)
    handler.namer = lambda _: str(tmp_path / "missing" / "app.old")
    for text in "abc":
        log(handler, text)
        wait_no_longer(handler)
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'app.log'}: cannot rotate: [Errno 2]" in line

    (tmp_path / "missing").mkdir()
    log(handler, "d")
    assert (tmp_path / "app.log").read_bytes() == b"d\n"
    assert (tmp_path / "missing" / "app.old").read_bytes() == b"a\nb\nc\n"


@by_subclass_or_attribute
def test_an_overridden_rotation_filename_names_the_backups(make: Make, tmp_path: Path, on: str) -> None:
    def rotation_filename(self: Any, default_name: str) -> str:
        return f"{default_name}.{self.backupCount}"

    handler = make(maxBytes=1, backupCount=2)
    handler = with_method(handler, "rotation_filename", rotation_filename, on, make)
    log(handler, *"abc")
    assert contents(tmp_path) == {"app.log": b"c\n", "app.log.1.2": b"b\n", "app.log.2.2": b"a\n"}


# ---------------------------------------------------------------------------------------------- the rotator


def compress(source: str, target: str) -> None:
    """Rotate as the cookbook of `logging` does."""
    with open(source, "rb") as plain, gzip.open(target, "wb") as compressed:  # noqa: PTH123 - as there
        shutil.copyfileobj(plain, compressed)
    Path(source).unlink()


def copy_and_truncate(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    os.truncate(source, 0)


def rename(source: str, target: str) -> None:
    Path(source).rename(target)


@both_modes
@pytest.mark.parametrize("arguments", [{}, {"header": "# head"}, {"encoding": "utf-16"}])
def test_a_rotator_that_compresses_finds_whole_files(
    make: Make, tmp_path: Path, locking: str, arguments: Dict[str, Any]
) -> None:
    handler = make(maxBytes=15, backupCount=2, locking=locking, **arguments)
    handler.rotator, handler.namer = compress, lambda default: default + ".gz"
    log(handler, *(f"record {number}" for number in range(6)))
    head = "# head\n" if "header" in arguments else ""
    encoding = arguments.get("encoding", "ascii")

    def file_of(*numbers: int) -> bytes:
        return (head + "".join(f"record {number}\n" for number in numbers)).encode(encoding)

    found = contents(tmp_path)
    for name in ("app.log.1.gz", "app.log.2.gz"):
        found[name] = gzip.decompress(found[name])
    expected = (file_of(4, 5), file_of(2, 3), file_of(0, 1))
    if arguments:  # with its head, each file is full after one record
        expected = (file_of(5), file_of(4), file_of(3))
    assert found == dict(zip(("app.log", "app.log.1.gz", "app.log.2.gz"), expected))


@both_modes
@pytest.mark.parametrize("rotator", [copy_and_truncate, rename])
@pytest.mark.parametrize("header", [None, "# head"])
def test_a_rotator_may_leave_the_live_file_there_or_not(
    make: Make, tmp_path: Path, locking: str, rotator: Callable[[str, str], None], header: Any
) -> None:
    handler = make(maxBytes=1, backupCount=2, locking=locking, header=header)
    handler.rotator = rotator
    log(handler, "a", "b", "c", "d")
    head = b"# head\n" if header else b""
    assert contents(tmp_path) == {
        "app.log": head + b"d\n",
        "app.log.1": head + b"c\n",
        "app.log.2": head + b"b\n",
    }


@both_modes
def test_a_rotator_that_is_set_while_the_log_is_open_serves_the_next_rotation(
    make: Make, tmp_path: Path, locking: str
) -> None:
    handler = make(maxBytes=1, backupCount=9, locking=locking)
    log(handler, "a", "b")
    handler.rotator = lambda source, target: rename(source, target + ".mine")
    log(handler, "c")
    handler.rotator = None
    log(handler, "d")
    assert contents(tmp_path) == {
        "app.log": b"d\n",
        "app.log.1": b"c\n",
        "app.log.1.mine": b"b\n",
        "app.log.2": b"a\n",
    }


@both_modes
def test_with_a_rotator_a_peer_that_has_the_log_open_goes_on_in_the_new_file(
    make: Make, tmp_path: Path, locking: str
) -> None:
    """The peer has no rotator, so it is the one who would append without the lock."""
    peer = make(locking=locking)
    handler = make(maxBytes=1, backupCount=9)
    handler.rotator, handler.namer = compress, lambda default: default + ".gz"
    for number in range(3):
        log(peer, f"peer {number}")
        log(handler, f"own {number}")
    found = contents(tmp_path)
    assert {
        name: gzip.decompress(found[name]) if name.endswith(".gz") else found[name] for name in found
    } == {
        "app.log": b"own 2\n",
        "app.log.1.gz": b"own 1\npeer 2\n",
        "app.log.2.gz": b"own 0\npeer 1\n",
        "app.log.3.gz": b"peer 0\n",
    }


@both_modes
def test_a_rotator_that_raises_is_reported_once_and_the_log_grows(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    def fail(_source: str, _target: str) -> None:
        raise ZeroDivisionError

    handler = make(maxBytes=1, backupCount=2, locking=locking)
    handler.rotator = fail
    for text in "abcd":
        log(handler, text)
        wait_no_longer(handler)
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\nd\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'app.log'}: cannot rotate: rotator failed: ZeroDivisionError()" in line
    assert handler.num_rollovers == 0

    handler.rotator = rename
    log(handler, "e")
    assert contents(tmp_path) == {"app.log": b"e\n", "app.log.1": b"a\nb\nc\nd\n"}


@both_modes
def test_a_rotator_that_fails_half_way_leaves_the_log_as_it_was(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    def fail_after_copying(source: str, target: str) -> None:
        shutil.copyfile(source, target)
        raise OSError("no space for more")

    handler = make(maxBytes=1, backupCount=2, locking=locking)
    handler.rotator = fail_after_copying
    log(handler, *"abc")
    # What the rotator left is its own; the records are all in the log.
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\n", "app.log.1": b"a\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot rotate: no space for more" in line


@both_modes
def test_a_rotator_that_does_nothing_keeps_the_log_growing(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(maxBytes=1, backupCount=2, locking=locking)
    calls: List[str] = []
    handler.rotator = lambda source, target: calls.append(f"{source} {target}")
    log(handler, *"abc")
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\n"}
    path = tmp_path / "app.log"
    assert calls == [f"{path} {path}.1"] * 2


@by_subclass_or_attribute
def test_an_overridden_rotate_moves_the_live_file(make: Make, tmp_path: Path, on: str) -> None:
    def rotate(_: Any, source: str, dest: str) -> None:
        Path(dest).write_bytes(Path(source).read_bytes().upper())
        Path(source).unlink()

    handler = with_method(make(maxBytes=1, backupCount=2), "rotate", rotate, on, make)
    log(handler, *"abc")
    assert contents(tmp_path) == {"app.log": b"c\n", "app.log.1": b"B\n", "app.log.2": b"A\n"}


# --------------------------------------------------------------------------------------- overridden methods


@by_subclass_or_attribute
def test_an_overridden_should_rollover_is_asked_with_each_record(make: Make, tmp_path: Path, on: str) -> None:
    def should_rollover(_: Any, record: logging.LogRecord) -> bool:
        return record.msg.startswith("chapter")

    handler = with_method(make(backupCount=9), "shouldRollover", should_rollover, on, make)
    log(handler, "a", "chapter 1", "b", "c", "chapter 2")
    assert contents(tmp_path) == {
        "app.log": b"chapter 2\n",
        "app.log.1": b"chapter 1\nb\nc\n",
        "app.log.2": b"a\n",
    }
    assert handler.num_rollovers == 2


def test_an_overridden_should_rollover_may_ask_the_original(make: Make, tmp_path: Path) -> None:
    class Handler(ConcurrentRotatingFileHandler):
        def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging named it
            return record.msg != "never" and super().shouldRollover(record)

    log(make(Handler, maxBytes=4, backupCount=9), "one", "never", "two", "abc", "d")
    assert contents(tmp_path) == {
        "app.log": b"d\n",
        "app.log.1": b"abc\n",
        "app.log.2": b"two\n",
        "app.log.3": b"one\nnever\n",
    }


@by_subclass_or_attribute
def test_a_should_rollover_that_fails_is_reported_once_and_the_log_grows(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], on: str
) -> None:
    def should_rollover(_: Any, __: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    log(with_method(make(maxBytes=1), "shouldRollover", should_rollover, on, make), *"abc")
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert "shouldRollover failed: ZeroDivisionError()" in line


@by_subclass_or_attribute
def test_an_overridden_do_rollover_may_call_the_original(make: Make, tmp_path: Path, on: str) -> None:
    done: List[str] = []

    def do_rollover(self: ConcurrentRotatingFileHandler) -> None:
        done.append("before")
        ConcurrentRotatingFileHandler.doRollover(self)
        done.append(Path(self.baseFilename + ".1").read_bytes().decode())

    handler = with_method(make(maxBytes=1, backupCount=2), "doRollover", do_rollover, on, make)
    log(handler, *"abc")
    assert contents(tmp_path) == {"app.log": b"c\n", "app.log.1": b"b\n", "app.log.2": b"a\n"}
    assert done == ["before", "a\n", "before", "b\n"]
    handler.doRollover()
    assert contents(tmp_path) == {"app.log": b"", "app.log.1": b"c\n", "app.log.2": b"b\n"}
    assert handler.num_rollovers == 3


@by_subclass_or_attribute
def test_an_overridden_do_rollover_may_do_it_all_by_itself(make: Make, tmp_path: Path, on: str) -> None:
    def do_rollover(self: ConcurrentRotatingFileHandler) -> None:
        log = Path(self.baseFilename)
        log.rename(log.with_name(f"app-{len(list(log.parent.glob('app-*')))}.log"))

    log(with_method(make(maxBytes=1), "doRollover", do_rollover, on, make), *"abc")
    assert contents(tmp_path) == {"app.log": b"c\n", "app-0.log": b"a\n", "app-1.log": b"b\n"}


@by_subclass_or_attribute
def test_a_do_rollover_that_fails_is_reported_once_and_the_log_grows(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], on: str
) -> None:
    def do_rollover(_: ConcurrentRotatingFileHandler) -> None:
        raise ZeroDivisionError

    log(with_method(make(maxBytes=1), "doRollover", do_rollover, on, make), *"abc")
    assert contents(tmp_path) == {"app.log": b"a\nb\nc\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert "doRollover failed: ZeroDivisionError()" in line


@by_subclass_or_attribute
@both_modes
def test_handle_error_gets_the_records_that_cannot_be_written(tmp_path: Path, on: str, locking: str) -> None:
    failed: List[Any] = []

    def handle_error(_: Any, record: logging.LogRecord) -> None:
        failed.append((record.msg, record.args))

    kind: Type[ConcurrentRotatingFileHandler] = ConcurrentRotatingFileHandler
    if on == "subclass":
        kind = type("Subclass", (kind,), {"handleError": handle_error})
    handler = kind(tmp_path / "app.log", encoding="ascii", errors="strict", locking=locking)
    if on == "instance":
        vars(handler)["handleError"] = handle_error.__get__(handler)
    for text, arguments in (("one", ()), ("%d", ("x",)), ("\N{SNOWMAN}", ()), ("two", ())):
        handler.handle(logging.makeLogRecord({"msg": text, "args": arguments}))
    handler.close()
    assert contents(tmp_path) == {"app.log": b"one\ntwo\n"}
    assert failed == [("%d", ("x",)), ("\N{SNOWMAN}", ())]


def test_without_an_override_the_error_is_told_as_everywhere_in_logging(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = ConcurrentRotatingFileHandler(tmp_path / "app.log", encoding="ascii", errors="strict")
    log(handler, "\N{SNOWMAN}", "after")
    handler.close()
    assert contents(tmp_path) == {"app.log": b"after\n"}
    told = capsys.readouterr().err
    assert "--- Logging error ---" in told
    assert "UnicodeEncodeError" in told


def test_a_formatter_that_recurses_without_end_is_stopped_as_everywhere_in_logging(
    make: Make, tmp_path: Path
) -> None:
    handler = make()

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return self.format(record) if record.msg == "endless" else super().format(record)

    handler.setFormatter(Formatter())
    with pytest.raises(RecursionError):
        log(handler, "endless")
    log(handler, "after")
    assert contents(tmp_path) == {"app.log": b"after\n"}


# -------------------------------------------------------------------------------------------- num_rollovers


@both_modes
def test_each_handler_counts_its_own_rotations(make: Make, tmp_path: Path, locking: str) -> None:
    handlers = [make(maxBytes=1, backupCount=9, locking=locking) for _ in range(2)]
    for handler in handlers:
        log(handler, "a", "b", "c")
    assert [each.num_rollovers for each in handlers] == [2, 3]
    handlers[0].close()
    log(handlers[0], "d")
    assert [each.num_rollovers for each in handlers] == [3, 3]
    assert len(contents(tmp_path)) == 7
