"""The constructor: the arguments of 0.9.31, what they allow, and what is said of a value that they do not."""

import grp
import inspect
import logging
import logging.handlers
import os
import pwd
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from support.programs import run_program

ARGUMENTS_OF_0_9_31: List[Tuple[str, Any]] = [
    ("filename", inspect.Parameter.empty),
    ("mode", "a"),
    ("maxBytes", 0),
    ("backupCount", 0),
    ("encoding", None),
    ("debug", False),
    ("delay", None),
    ("use_gzip", False),
    ("owner", None),
    ("chmod", None),
    ("umask", None),
    ("newline", None),
    ("terminator", "\n"),
    ("unicode_error_policy", "ignore"),
    ("lock_file_directory", None),
    ("keep_file_open", True),
]
NEW_ARGUMENTS: List[Tuple[str, Any]] = [
    ("errors", None),
    ("locking", "auto"),
    ("patience", 0.05),
    ("header", None),
    ("max_age", None),
    ("max_total_bytes", None),
    ("min_free_bytes", None),
    ("current_link", None),
    ("on_rotate", None),
    ("compression", None),
    ("compression_level", None),
    ("upkeep", "background"),
    ("escape_newlines", False),
]
HELPERS = {".__app.lock", ".__app.state"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def raise_it(_: logging.LogRecord) -> None:
    """Let an error that `emit` has caught go on to the test."""
    raise  # noqa: PLE0704 - `handleError` is called where the error is being handled


def written_with(log: Path, *texts: str, **arguments: Any) -> bytes:
    """Log with a handler of these arguments; return what the log holds then."""
    handler = ConcurrentRotatingFileHandler(log, **arguments)
    vars(handler)["handleError"] = raise_it
    for text in texts:
        handler.handle(record(text))
    handler.close()
    return log.read_bytes()


# ------------------------------------------------------------------------------------------- the signature


def test_the_arguments_of_0_9_31_keep_their_order_and_their_defaults() -> None:
    parameters = list(inspect.signature(ConcurrentRotatingFileHandler).parameters.values())
    old, new = parameters[: len(ARGUMENTS_OF_0_9_31)], parameters[len(ARGUMENTS_OF_0_9_31) :]
    assert [(each.name, each.default) for each in old] == ARGUMENTS_OF_0_9_31
    assert {each.kind for each in old} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert [(each.name, each.default) for each in new] == NEW_ARGUMENTS
    assert {each.kind for each in new} == {inspect.Parameter.KEYWORD_ONLY}


def test_the_handler_is_a_rotating_handler_of_the_standard_library() -> None:
    assert issubclass(ConcurrentRotatingFileHandler, logging.handlers.BaseRotatingHandler)
    assert logging.handlers.ConcurrentRotatingFileHandler is ConcurrentRotatingFileHandler  # type: ignore[attr-defined]


def test_all_arguments_of_0_9_31_are_taken_by_position(log: Path, tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    values = (
        log,
        "a",
        7,
        2,
        "ascii",
        False,
        None,
        False,
        None,
        0o600,
        None,
        "",
        "\r\n",
        "replace",
        locks,
        False,
    )
    assert len(values) == len(ARGUMENTS_OF_0_9_31)
    handler = ConcurrentRotatingFileHandler(*values)
    for text in ("first ä", "second"):
        handler.handle(record(text))
    handler.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {
        "app.log": b"second\r\n",
        "app.log.1": b"first ?\r\n",
    }
    assert log.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in locks.iterdir()} == HELPERS


def test_every_value_can_be_read_back_by_its_name(log: Path, tmp_path: Path) -> None:
    values: Dict[str, Any] = {
        "mode": "w",
        "maxBytes": 10,
        "backupCount": 3,
        "encoding": "latin-1",
        "owner": (os.getuid(), os.getgid()),
        "chmod": 0o640,
        "umask": 0o022,
        "newline": "\r\n",
        "terminator": "|",
        "unicode_error_policy": "strict",
        "keep_file_open": False,
        "errors": "replace",
        "header": "# head",
    }
    handler = ConcurrentRotatingFileHandler(log, lock_file_directory=tmp_path / "locks", **values)
    assert {name: getattr(handler, name) for name in values} == values
    assert handler.baseFilename == str(log)
    assert handler.lockFilename == str(tmp_path / "locks" / ".__app.lock")
    assert (handler.use_gzip, handler.num_rollovers) == (False, 0)
    handler.close()


@pytest.mark.parametrize("filename", ["app.log", Path("app.log"), "./app.log"])
def test_a_relative_path_is_made_absolute_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: Any
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    handler = ConcurrentRotatingFileHandler(filename, maxBytes=1, backupCount=1, lock_file_directory="locks")
    monkeypatch.chdir(second)
    for text in ("one", "two"):
        handler.handle(record(text))
    handler.close()
    assert handler.baseFilename == str(first / "app.log")
    assert list(second.iterdir()) == []
    assert {each.name for each in first.iterdir()} == {"app.log", "app.log.1", "locks"}
    assert {each.name for each in (first / "locks").iterdir()} == HELPERS


def test_sizes_and_counts_may_be_changed_later(log: Path, tmp_path: Path) -> None:
    handler = ConcurrentRotatingFileHandler(log)
    vars(handler)["handleError"] = raise_it
    handler.handle(record("0"))
    handler.maxBytes, handler.backupCount = 2, 2
    for text in "1234":
        handler.handle(record(text))
    handler.maxBytes = 0
    handler.handle(record("5"))
    handler.maxBytes, handler.backupCount = 4, 1
    handler.handle(record("6"))
    handler.close()
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name not in HELPERS}
    # .2 stays: the shift of 0.9.x and of the standard library looks no further than backupCount either.
    assert files == {"app.log": b"6\n", "app.log.1": b"4\n5\n", "app.log.2": b"2\n"}
    assert (handler.maxBytes, handler.backupCount, handler.num_rollovers) == (4, 1, 5)


@pytest.mark.parametrize("name", ["maxBytes", "backupCount"])
@pytest.mark.parametrize("value", [-1, 1.5, "one", None])
def test_a_wrong_size_or_count_is_refused_later_as_well(log: Path, name: str, value: Any) -> None:
    handler = ConcurrentRotatingFileHandler(log, maxBytes=10, backupCount=10)
    with pytest.raises(ValueError, match=name):
        setattr(handler, name, value)
    assert (handler.maxBytes, handler.backupCount) == (10, 10)
    handler.close()


def test_the_handler_is_shown_as_those_of_the_standard_library_are(log: Path) -> None:
    handler = ConcurrentRotatingFileHandler(log)
    assert repr(handler) == f"<ConcurrentRotatingFileHandler {log} (NOTSET)>"
    handler.close()


def test_debug_tells_what_is_done_in_a_line_each(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert written_with(log, "one", "two", maxBytes=1, backupCount=1, debug=True) == b"two\n"
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line for line in lines if not line.startswith("concurrent_log_handler: ")] == []
    assert [line for line in lines if f"{os.getpid()} MainThread] {log}: " not in line] == []
    assert [line.rpartition(": ")[2] for line in lines if "rotating" in line] == ["rotating at 4 bytes"]


# ----------------------------------------------------------------------------------------------- leniencies


@pytest.mark.parametrize("policy", ["", "xmlcharrefreplace", None, 5])
def test_an_unknown_unicode_error_policy_warns_and_means_ignore(log: Path, policy: Any) -> None:
    with pytest.warns(UserWarning, match="unicode_error_policy") as caught:
        assert (
            written_with(log, "a\N{EURO SIGN}b", encoding="latin-1", unicode_error_policy=policy) == b"ab\n"
        )
    assert [(each.category, each.filename) for each in caught] == [(UserWarning, __file__)]


def test_delay_warns_and_is_ignored(log: Path) -> None:
    with pytest.warns(DeprecationWarning, match="delay") as caught:
        handler = ConcurrentRotatingFileHandler(log, delay=False)
    assert [(each.category, each.filename) for each in caught] == [(DeprecationWarning, __file__)]
    assert not log.exists()
    handler.handle(record("text"))
    handler.close()
    assert log.read_bytes() == b"text\n"


@pytest.mark.parametrize("delay", [None, True])
def test_the_delay_that_there_is_anyway_does_not_warn(log: Path, delay: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert written_with(log, "text", delay=delay) == b"text\n"


@pytest.mark.parametrize("terminator", ["", None])
def test_no_terminator_means_a_line_feed(log: Path, terminator: Any) -> None:
    assert written_with(log, "one", "two", terminator=terminator) == b"one\ntwo\n"


@pytest.mark.parametrize("mode", ["a", "at", "a+", "a+t", "w", "wt", "w+", "x", "xt"])
def test_modes_of_open_that_come_to_the_same_are_allowed(log: Path, mode: str) -> None:
    assert written_with(log, "one", "two", mode=mode) == b"one\ntwo\n"


def test_lists_do_where_pairs_are_meant(log: Path) -> None:
    """Configuration files know no tuples."""
    owner = [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name]
    assert written_with(log, "text", owner=owner) == b"text\n"


def test_whole_floats_are_sizes(log: Path) -> None:
    """`maxBytes=1e6` has always worked."""
    handler = ConcurrentRotatingFileHandler(log, maxBytes=1e6, backupCount=2.0)  # type: ignore[arg-type]
    assert (handler.maxBytes, handler.backupCount) == (1_000_000, 2)
    handler.close()


# --------------------------------------------------------------------------------------------- wrong values

WRONG: List[Tuple[str, Any, Type[Exception], str]] = [
    ("mode", "", ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("mode", "r", ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("mode", "ab", ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("mode", "aa", ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("mode", None, ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("mode", 5, ValueError, "'a' (append), 'w' (start anew) or 'x'"),
    ("maxBytes", -1, ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", 1.5, ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", float("nan"), ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", float("inf"), ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", "1000 records", ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", None, ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("maxBytes", True, ValueError, "bytes, 0 or more, a number or text such as '10 MB'"),
    ("backupCount", -1, ValueError, "a whole number, 0 or more"),
    ("backupCount", 2.5, ValueError, "a whole number, 0 or more"),
    ("backupCount", "5", ValueError, "a whole number, 0 or more"),
    ("backupCount", None, ValueError, "a whole number, 0 or more"),
    ("backupCount", False, ValueError, "a whole number, 0 or more"),
    ("encoding", "no-such-encoding", LookupError, "known to codecs"),
    ("encoding", "", LookupError, "known to codecs"),
    ("encoding", "rot13", LookupError, "known to codecs"),  # of text to text
    ("encoding", "hex", LookupError, "known to codecs"),  # of bytes to bytes
    ("encoding", 5, LookupError, "known to codecs"),
    ("owner", "root", ValueError, "a pair of user and group"),
    ("owner", ("root",), ValueError, "a pair of user and group"),
    ("owner", (0, 0, 0), ValueError, "a pair of user and group"),
    ("owner", 5, ValueError, "a pair of user and group"),
    ("owner", ("no-such-user", "root"), LookupError, "there is no user 'no-such-user'"),
    ("owner", ("root", "no-such-group"), LookupError, "there is no group 'no-such-group'"),
    ("owner", (None, None), LookupError, "there is no user None"),
    ("owner", (1.5, 0), LookupError, "there is no user 1.5"),
    ("owner", (-5, 0), ValueError, "a pair with a user from 0 to"),
    ("owner", (0, 2**32), ValueError, "a pair with a group from 0 to"),
    ("chmod", -1, ValueError, "None or permissions such as 0o640"),
    ("chmod", 0o10000, ValueError, "None or permissions such as 0o640"),
    ("chmod", "640", ValueError, "None or permissions such as 0o640"),
    ("chmod", 416.0, ValueError, "None or permissions such as 0o640"),
    ("chmod", True, ValueError, "None or permissions such as 0o640"),
    ("umask", -1, ValueError, "None or permissions such as 0o640"),
    ("umask", 0o10000, ValueError, "None or permissions such as 0o640"),
    ("umask", "022", ValueError, "None or permissions such as 0o640"),
    ("newline", "\n\r", ValueError, "None, '', '\\n', '\\r' or '\\r\\n'"),
    ("newline", "x", ValueError, "None, '', '\\n', '\\r' or '\\r\\n'"),
    ("newline", 5, ValueError, "None, '', '\\n', '\\r' or '\\r\\n'"),
    ("terminator", 5, ValueError, "text"),
    ("terminator", b"\n", ValueError, "text"),
    ("errors", "no-such-handler", LookupError, "known to codecs"),
    ("errors", "", LookupError, "known to codecs"),
    ("errors", 5, LookupError, "known to codecs"),
    ("locking", "maybe", ValueError, "'auto', 'atomic', 'exclusive'"),
    ("locking", "", ValueError, "'auto', 'atomic', 'exclusive'"),
    ("locking", None, ValueError, "'auto', 'atomic', 'exclusive'"),
    ("locking", ["auto"], ValueError, "'auto', 'atomic', 'exclusive'"),
    ("patience", -0.1, ValueError, "seconds, 0 or more"),
    ("patience", float("nan"), ValueError, "seconds, 0 or more"),
    ("patience", float("inf"), ValueError, "seconds, 0 or more"),
    ("patience", "1", ValueError, "seconds, 0 or more"),
    ("patience", None, ValueError, "seconds, 0 or more"),
    ("patience", True, ValueError, "seconds, 0 or more"),
    ("header", 5, ValueError, "text or a callable"),
    ("header", b"# head", ValueError, "text or a callable"),
    ("header", ["# head"], ValueError, "text or a callable"),
]


@pytest.mark.parametrize(("name", "value", "error", "allowed"), WRONG)
def test_a_wrong_value_is_refused_by_its_name_with_what_is_allowed(
    log: Path, tmp_path: Path, name: str, value: Any, error: Type[Exception], allowed: str
) -> None:
    with pytest.raises(error) as caught:
        ConcurrentRotatingFileHandler(log, **{name: value})
    message = str(caught.value)
    assert f"{name}={value!r}" in message
    assert allowed in message
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="filename: a directory cannot be a log") as caught:
        ConcurrentRotatingFileHandler(tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_no_file_can_have_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        ConcurrentRotatingFileHandler(str(tmp_path / "app\0.log"))


@pytest.mark.parametrize("filename", [None, 5])
def test_something_else_than_a_path_is_refused_as_everywhere(filename: Any) -> None:
    with pytest.raises(TypeError, match=r"expected str, bytes or os\.PathLike object"):
        ConcurrentRotatingFileHandler(filename)


@pytest.mark.parametrize("dangling", [False, True])
def test_mode_x_refuses_a_path_where_anything_stands(log: Path, dangling: bool) -> None:
    if dangling:
        log.symlink_to("nowhere")
    else:
        log.write_bytes(b"old\n")
    with pytest.raises(FileExistsError, match="filename: mode='x' demands a new file"):
        ConcurrentRotatingFileHandler(log, mode="x")
    assert dangling or log.read_bytes() == b"old\n"


@pytest.mark.parametrize("below", [".", "locks"])
def test_helpers_cannot_be_where_no_directory_can_be(log: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="lock_file_directory") as caught:
        ConcurrentRotatingFileHandler(log, lock_file_directory=tmp_path / "file" / below)
    assert str(tmp_path / "file") in str(caught.value)
    assert {each.name for each in tmp_path.iterdir()} == {"file"}


REFUSED = """
import sys
from concurrent_log_handler import ConcurrentRotatingFileHandler
kept = []
for arguments in ({"lock_file_directory": sys.argv[1]}, {"maxBytes": -1}, {"filename": sys.argv[2]}):
    try:
        ConcurrentRotatingFileHandler(**{"filename": sys.argv[2] + "/app.log", **arguments})
    except (OSError, ValueError) as error:
        kept.append(error)  # and with its traceback the handler that has not become one
assert len(kept) == 3
"""


def test_a_program_that_keeps_the_error_of_a_refusal_ends_in_silence(tmp_path: Path) -> None:
    """`logging` closes at exit what ran through `Handler.__init__`, whether it was finished or not."""
    (tmp_path / "file").write_bytes(b"")
    command = [sys.executable, "-W", "error", "-c", REFUSED, str(tmp_path / "file"), str(tmp_path)]
    ended = run_program(command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
