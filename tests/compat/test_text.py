"""From the text of a record to the bytes of the file: encodings, line ends, marks and headers."""

import io
import locale
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler
from support.programs import run_program

Make = Callable[..., ConcurrentRotatingFileHandler]

EURO = "\N{EURO SIGN}"
BYTE_ORDER_MARKS = {
    "utf-8-sig": b"\xef\xbb\xbf",
    "utf-16": b"\xff\xfe" if sys.byteorder == "little" else b"\xfe\xff",
    "utf-32": b"\xff\xfe\0\0" if sys.byteorder == "little" else b"\0\0\xfe\xff",
}


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def contents(directory: Path) -> Dict[str, bytes]:
    """Return the files of a directory with what is in them, the helpers left out."""
    found = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert (found.pop(".__app.lock"), len(found.pop(".__app.state")) >= 4096) == (b"", True)
    return found


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
    """Make handlers for `app.log`, which are closed in the end."""
    made: List[ConcurrentRotatingFileHandler] = []

    def make_one(**arguments: Any) -> ConcurrentRotatingFileHandler:
        handler = ConcurrentRotatingFileHandler(tmp_path / "app.log", **arguments)
        vars(handler)["handleError"] = failures.append
        made.append(handler)
        return handler

    yield make_one
    for handler in made:
        handler.close()


def log(handler: ConcurrentRotatingFileHandler, *texts: str) -> None:
    for text in texts:
        handler.handle(record(text))


both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])

# ---------------------------------------------------------------------------------- what `open` would write

TEXTS = [
    "",
    "plain",
    "two\nlines",
    "\n",
    "ends with one\n",
    "\r, \r\n and \n\r stay apart",
    "\0 and \x1a",
    "\v\f\x1c\x1d\x1e\x85\u2028\u2029 are no line ends",
    "m\N{LATIN SMALL LETTER U WITH DIAERESIS}de \N{HIRAGANA LETTER A} \N{PARTY POPPER} e\N{COMBINING ACUTE ACCENT}",
    "\ufeff within",
    "%s %(message)s {} %",
]


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("terminator", ["\n", "\r\n", "", "|", "\n\n", "\0"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_the_bytes_are_those_of_a_text_file(
    make: Make, tmp_path: Path, newline: Optional[str], terminator: str, encoding: str
) -> None:
    log(make(newline=newline, terminator=terminator, encoding=encoding), *TEXTS)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline=newline) as wanted:
        for text in TEXTS:
            wanted.write(text + (terminator or "\n"))
        wanted.flush()
        assert contents(tmp_path) == {"app.log": raw.getvalue()}


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({}, b"a  z\n"),
        ({"unicode_error_policy": "ignore"}, b"a  z\n"),
        ({"unicode_error_policy": "replace"}, b"a ? z\n"),
        ({"unicode_error_policy": "strict"}, None),
        ({"errors": "ignore"}, b"a  z\n"),
        ({"errors": "replace"}, b"a ? z\n"),
        ({"errors": "strict"}, None),
        ({"errors": "xmlcharrefreplace"}, b"a &#8364; z\n"),
        ({"errors": "backslashreplace"}, b"a \\u20ac z\n"),
        ({"errors": "namereplace"}, b"a \\N{EURO SIGN} z\n"),
        ({"errors": "replace", "unicode_error_policy": "strict"}, b"a ? z\n"),
        ({"errors": "strict", "unicode_error_policy": "replace"}, None),
    ],
)
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_the_encoding_lacks_goes_by_the_policy(
    make: Make,
    tmp_path: Path,
    failures: List[logging.LogRecord],
    encoding: str,
    arguments: Dict[str, str],
    written: Optional[bytes],
) -> None:
    handler = make(encoding=encoding, **arguments)
    log(handler, "before", f"a {EURO} z", "after")
    assert contents(tmp_path) == {"app.log": b"before\n" + (written or b"") + b"after\n"}
    assert [each.msg for each in failures] == ([] if written else [f"a {EURO} z"])


@pytest.mark.parametrize(
    ("errors", "written"),
    [
        (None, b"ab\n"),
        ("replace", b"a?b\n"),
        ("strict", None),
        ("surrogatepass", b"a\xed\xb2\x80b\n"),
        ("surrogateescape", b"a\x80b\n"),
    ],
)
def test_a_lone_surrogate_goes_by_the_policy(
    make: Make, tmp_path: Path, failures: List[logging.LogRecord], errors: str, written: Optional[bytes]
) -> None:
    log(make(encoding="utf-8", errors=errors), "a\udc80b", "after")
    assert contents(tmp_path) == {"app.log": (written or b"") + b"after\n"}
    assert [each.msg for each in failures] == ([] if written else ["a\udc80b"])


def test_without_an_encoding_it_is_that_of_the_locale(make: Make, tmp_path: Path) -> None:
    log(make(), "m\N{LATIN SMALL LETTER U WITH DIAERESIS}de")
    encoding = locale.getpreferredencoding(do_setlocale=False)
    assert contents(tmp_path) == {"app.log": "müde\n".encode(encoding, "ignore")}


@pytest.mark.skipif(sys.platform == "win32", reason="the locale is not taken from the environment")
@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}]
)
def test_the_locale_is_what_it_is_to_open(tmp_path: Path, environment: Dict[str, str]) -> None:
    code = (
        "import logging, sys; from concurrent_log_handler import ConcurrentRotatingFileHandler as Handler\n"
        "handler = Handler('app.log', errors='backslashreplace')\n"
        "handler.handle(logging.makeLogRecord({'msg': 'm\\xfcde'})); handler.close()\n"
        "print(open('app.log').encoding)\n"
    )
    ended = run_program([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **environment})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert contents(tmp_path) == {"app.log": "müde\n".encode(ended.stdout.strip(), "backslashreplace")}


# --------------------------------------------------------------------------------------------- long records


@both_modes
@pytest.mark.parametrize("megabytes", [1, 50])
def test_a_long_record_is_written_whole_into_one_file(
    make: Make, tmp_path: Path, locking: str, megabytes: int
) -> None:
    handler = make(encoding="utf-8", locking=locking, maxBytes=1000, backupCount=3)
    text = "0123456789abcdef" * (megabytes * 2**16)
    log(handler, "before", text, "after")
    found = contents(tmp_path)
    # Compared piece by piece: to show how they differ takes pytest minutes.
    assert {name: len(content) for name, content in found.items()} == {
        "app.log": len("after\n"),
        "app.log.1": len(f"before\n{text}\n"),
    }
    assert found["app.log.1"] == f"before\n{text}\n".encode()


@both_modes
def test_long_records_of_two_handlers_do_not_mix(make: Make, tmp_path: Path, locking: str) -> None:
    letters, rounds, size = "ab", 4, 5_000_000
    handlers = [make(encoding="utf-8", locking=locking) for _ in letters]
    start = threading.Barrier(len(letters))

    def write(handler: ConcurrentRotatingFileHandler, letter: str) -> None:
        start.wait(30)
        log(handler, *[letter * size] * rounds)

    threads = [threading.Thread(target=write, args=pair) for pair in zip(handlers, letters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    lines = contents(tmp_path)["app.log"].splitlines()
    assert sorted((line[:1], set(line), len(line)) for line in lines) == sorted(
        (letter.encode(), set(letter.encode()), size) for letter in letters for _ in range(rounds)
    )


# --------------------------------------------------------------------------------------- the byte-order mark


@both_modes
@pytest.mark.parametrize("encoding", list(BYTE_ORDER_MARKS))
def test_each_file_has_one_byte_order_mark(make: Make, tmp_path: Path, locking: str, encoding: str) -> None:
    arguments: Dict[str, Any] = {"encoding": encoding, "locking": locking, "maxBytes": 30, "backupCount": 9}
    for texts in (["one", "two two two two"], ["three"], ["four four four four", "five"]):
        handler = make(**arguments)
        log(handler, *texts)
        handler.close()
    found = contents(tmp_path)
    texts = [found[name].decode(encoding) for name in sorted(found, reverse=True)]
    assert "".join(texts).split() == ["one", *["two"] * 4, "three", *["four"] * 4, "five"]
    assert all(content.startswith(BYTE_ORDER_MARKS[encoding]) for content in found.values())
    assert "\ufeff" not in "".join(texts)  # the first of each was taken by decode()
    assert len(found) == {"utf-8-sig": 2, "utf-16": 3, "utf-32": 3}[encoding]


@both_modes
@pytest.mark.parametrize("encoding", list(BYTE_ORDER_MARKS))
def test_an_empty_file_gets_its_byte_order_mark(
    make: Make, tmp_path: Path, locking: str, encoding: str
) -> None:
    (tmp_path / "app.log").touch()
    log(make(encoding=encoding, locking=locking), "one", "two")
    assert contents(tmp_path) == {"app.log": "one\ntwo\n".encode(encoding)}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8", "latin-1"])
def test_an_encoding_that_has_no_byte_order_mark_writes_none(
    make: Make, tmp_path: Path, encoding: str
) -> None:
    log(make(encoding=encoding), "one", "two")
    assert contents(tmp_path) == {"app.log": "one\ntwo\n".encode(encoding)}


def test_the_mark_of_one_writer_does_for_all(make: Make, tmp_path: Path) -> None:
    first, second = make(encoding="utf-16"), make(encoding="utf-16")
    for handler, text in ((first, "one"), (second, "two"), (first, "three")):
        log(handler, text)
    assert contents(tmp_path) == {"app.log": "one\ntwo\nthree\n".encode("utf-16")}


# ------------------------------------------------------------------------------------------------ the header


@both_modes
@pytest.mark.parametrize(
    ("header", "first"), [("# head", b"# head\n"), ("# head\n", b"# head\n"), ("a\nb", b"a\nb\n"), ("", b"")]
)
def test_each_file_begins_with_the_header_as_lines_of_its_own(
    make: Make, tmp_path: Path, locking: str, header: str, first: bytes
) -> None:
    handler = make(header=header, locking=locking, maxBytes=len(first) + 4, backupCount=9)
    log(handler, "one", "two")
    handler.close()
    log(handler, "three")
    assert contents(tmp_path) == {
        "app.log": first + b"three\n",
        "app.log.1": first + b"two\n",
        "app.log.2": first + b"one\n",
    }


@both_modes
def test_a_header_is_asked_for_once_per_file(make: Make, tmp_path: Path, locking: str) -> None:
    numbers = iter(range(100))
    handler = make(header=lambda: f"# {next(numbers)}", locking=locking, maxBytes=5, backupCount=9)
    log(handler, "a", "b", "c")
    found = contents(tmp_path)
    assert [found[name].split(b"\n")[1] for name in sorted(found, reverse=True)] == [b"a", b"b", b"c"]
    assert next(numbers) == len(found) == 3


def test_the_header_is_text_like_every_other(make: Make, tmp_path: Path) -> None:
    handler = make(
        header=f"\N{LATIN SMALL LETTER E WITH ACUTE}\n{EURO}",
        encoding="utf-16",
        newline="\r\n",
        maxBytes=1,
        backupCount=1,
    )
    log(handler, "one", "two")
    found = contents(tmp_path)
    assert found["app.log"] == "é\r\n€\r\ntwo\r\n".encode("utf-16")


@both_modes
def test_an_empty_file_gets_its_header(make: Make, tmp_path: Path, locking: str) -> None:
    (tmp_path / "app.log").touch()
    log(make(header="# head", locking=locking), "one")
    assert contents(tmp_path) == {"app.log": b"# head\none\n"}


@both_modes
def test_a_file_with_something_in_it_gets_none(make: Make, tmp_path: Path, locking: str) -> None:
    (tmp_path / "app.log").write_bytes(b"old\n")
    log(make(header="# head", locking=locking), "one")
    assert contents(tmp_path) == {"app.log": b"old\none\n"}


@both_modes
@pytest.mark.parametrize("there", [False, True])
def test_writers_that_open_at_the_same_time_write_one_header(
    make: Make, tmp_path: Path, locking: str, there: bool
) -> None:
    writers = 6
    for _ in range(15):
        for each in tmp_path.iterdir():
            each.unlink()
        if there:
            (tmp_path / "app.log").touch()
        handlers = [make(header="# head", locking=locking, patience=30) for _ in range(writers)]
        start = threading.Barrier(writers)

        def write(number: int) -> None:
            start.wait(30)  # noqa: B023 - the threads of this round have ended when the next one begins
            log(handlers[number], str(number))  # noqa: B023

        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        (name, content), *more = contents(tmp_path).items()
        assert (name, more) == ("app.log", [])
        head, *lines = content.splitlines()
        assert (head, sorted(lines)) == (b"# head", [b"%d" % number for number in range(writers)])


START_TOGETHER = """
import logging, sys, time
from concurrent_log_handler import ConcurrentRotatingFileHandler
handler = ConcurrentRotatingFileHandler(sys.argv[1], header="# head", patience=30, locking=sys.argv[2])
print(flush=True)
sys.stdin.read(1)
handler.handle(logging.makeLogRecord({"msg": sys.argv[3]}))
"""


@both_modes
@pytest.mark.parametrize("there", [False, True])
def test_processes_that_start_together_write_one_header(tmp_path: Path, locking: str, there: bool) -> None:
    if there:
        (tmp_path / "app.log").touch()
    names = [str(number) for number in range(4)]
    command = [sys.executable, "-W", "error", "-c", START_TOGETHER, str(tmp_path / "app.log"), locking]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in names
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.flush()
    finally:
        for writer in writers:
            writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0] * len(names)
    (name, content), *more = contents(tmp_path).items()
    head, *lines = content.splitlines()
    assert (name, head, sorted(lines), more) == ("app.log", b"# head", [name.encode() for name in names], [])


@both_modes
def test_a_header_as_long_as_a_file_may_be_makes_one_file_per_record(
    make: Make, tmp_path: Path, locking: str
) -> None:
    handler = make(header="# a header of 29 characters!", maxBytes=29, backupCount=9, locking=locking)
    log(handler, "one", "two", "three")
    found = contents(tmp_path)
    head = b"# a header of 29 characters!\n"
    assert all(content.startswith(head) for content in found.values())
    records = [found[name][len(head) :] for name in sorted(found, reverse=True)]
    # A file that holds its header and nothing else may have been rotated before the first record, as it is full.
    assert [lines for lines in records if lines] == [b"one\n", b"two\n", b"three\n"]
    assert len(found) <= 4


@both_modes
@pytest.mark.parametrize("wrong", ["raises", "bytes", "number", "not to be encoded"])
def test_a_header_that_fails_is_reported_and_logging_goes_on(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    failures: List[logging.LogRecord],
    locking: str,
    wrong: str,
) -> None:
    answers: Dict[str, Callable[[], Any]] = {
        "raises": lambda: 1 // 0,
        "bytes": lambda: b"# head",
        "number": lambda: 5,
        "not to be encoded": lambda: EURO,
    }
    handler = make(
        header=answers[wrong], encoding="latin-1", errors="strict", maxBytes=8, backupCount=9, locking=locking
    )
    log(handler, "one", "two", "three", "four")
    assert failures == []
    assert contents(tmp_path) == {"app.log": b"three\nfour\n", "app.log.1": b"one\ntwo\n"}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'app.log'}: header failed" in line


@both_modes
def test_a_header_that_works_again_is_written_again(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    broken = False

    def header() -> str:
        if broken:
            raise ZeroDivisionError
        return "# head"

    handler = make(header=header, maxBytes=1, backupCount=9, locking=locking)
    for text in ("one", "two", "three", "four"):
        broken = not broken
        log(handler, text)
    assert contents(tmp_path) == {
        "app.log": b"# head\nfour\n",
        "app.log.1": b"three\n",
        "app.log.2": b"# head\ntwo\n",
        "app.log.3": b"one\n",
    }
    assert len(capsys.readouterr().err.splitlines()) == 2  # told again, as it had been settled


def test_a_header_that_is_none_is_none(make: Make, tmp_path: Path) -> None:
    log(make(header=lambda: None), "one")
    assert contents(tmp_path) == {"app.log": b"one\n"}


# ---------------------------------------------------------------------------------- one record, one line

BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@both_modes
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp037"])
@pytest.mark.parametrize("terminator", ["\n", "\r\n", "\N{LINE SEPARATOR}", "--\n"])
def test_with_escapes_each_record_is_one_line_to_every_reader(
    make: Make, tmp_path: Path, locking: str, encoding: str, terminator: str
) -> None:
    if encoding in {"latin-1", "cp037"} and max(terminator) > "\x7f":
        terminator = "\x85"
    handler = make(
        escape_newlines=True, locking=locking, encoding=encoding, terminator=terminator, newline=""
    )
    breaks = [each for each in BREAKS if encoding not in {"latin-1", "cp037"} or ord(each) < 256]
    log(
        handler,
        "plain",
        *(f"before{each}after\\n\ttab" for each in [*breaks, "\r\n", "\n\n"]),
        "".join(breaks),
    )
    escaped = ["\\n", "\\r", "\\x0b", "\\x0c", "\\x1c", "\\x1d", "\\x1e", "\\x85", "\\u2028", "\\u2029"]
    escaped = escaped[: len(breaks)]
    lines = [
        "plain",
        *(f"before{each}after\\n\ttab" for each in [*escaped, "\\r\\n", "\\n\\n"]),
        "".join(escaped),
    ]
    text = (tmp_path / "app.log").read_bytes().decode(encoding)
    assert text == "".join(line + terminator for line in lines)
    assert text.splitlines() == [line + terminator.rstrip(BREAKS) for line in lines]


def test_a_record_cannot_be_forged_with_escapes_nor_a_traceback_part_it(make: Make, tmp_path: Path) -> None:
    handler = make(escape_newlines=True, header="of\ntwo lines")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    failure = record("")
    try:
        int("one\rtwo")
    except ValueError:
        failure = logging.LogRecord(
            "test", logging.ERROR, "", 0, "failed: %s", ("a\nINFO paid",), sys.exc_info()
        )
    handler.handle(failure)
    head, second, line = (tmp_path / "app.log").read_text().splitlines()
    assert (head, second) == ("of", "two lines")
    assert line.startswith("ERROR failed: a\\nINFO paid\\nTraceback (most recent call last):\\n  File ")
    assert line.endswith("\\nValueError: invalid literal for int() with base 10: 'one\\rtwo'")
    assert handler.escape_newlines


def test_without_escapes_a_record_has_its_lines(make: Make, tmp_path: Path) -> None:
    handler = make()
    log(handler, BREAKS)
    assert (tmp_path / "app.log").read_bytes() == BREAKS.encode() + b"\n"
    assert not handler.escape_newlines
