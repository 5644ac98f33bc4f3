"""The constructor of the timed handler: its arguments, what each does, and what is said of a wrong one."""

import codecs
import datetime as dt
import inspect
import logging
import logging.handlers
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple, Type

import pytest

from concurrent_log_handler import ConcurrentTimedRotatingFileHandler
from support.folder import HELPERS, LIVE, LOCK
from support.programs import run_program
from support.timed import instant

ARGUMENTS_OF_0_9_31: List[Tuple[str, Any]] = [
    ("filename", inspect.Parameter.empty),
    ("when", "h"),
    ("interval", 1),
    ("backupCount", 0),
    ("encoding", None),
    ("delay", False),
    ("utc", False),
    ("atTime", None),
    ("errors", None),
    ("maxBytes", 0),
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
START = instant("10:00")  # of a Monday
HOUR, DAY = 3600, 24 * 3600

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


class Clock:
    """Stands in for the wall clock."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / LIVE


def files(folder: Path) -> Dict[str, bytes]:
    found = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    assert set(found) >= HELPERS
    return {name: content for name, content in found.items() if name not in HELPERS}


def raise_it(_: logging.LogRecord) -> None:
    """Let an error that `emit` has caught go on to the test."""
    raise  # noqa: PLE0704 - `handleError` is called where the error is being handled


def write(handler: ConcurrentTimedRotatingFileHandler, *texts: str) -> None:
    vars(handler)["handleError"] = raise_it
    handler._log.settings = handler._log.settings  # which has the handler look at the clock
    for text in texts:
        handler.handle(logging.makeLogRecord({"msg": text}))


def written_in_two_periods(log: Path, clock: Clock, first: str, second: str, **arguments: Any) -> None:
    """Log a text, and another one an hour later, with a handler of these arguments."""
    handler = ConcurrentTimedRotatingFileHandler(log, utc=True, **arguments)
    write(handler, first)
    clock.now += HOUR
    write(handler, second)
    handler.close()


# ------------------------------------------------------------------------------------------- the signature


def test_the_arguments_of_0_9_31_keep_their_order_and_their_defaults() -> None:
    parameters = list(inspect.signature(ConcurrentTimedRotatingFileHandler).parameters.values())
    old, new = parameters[: len(ARGUMENTS_OF_0_9_31)], parameters[len(ARGUMENTS_OF_0_9_31) : -1]
    assert [(each.name, each.default) for each in old] == ARGUMENTS_OF_0_9_31
    assert {each.kind for each in old} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert {each.kind for each in new} == {inspect.Parameter.KEYWORD_ONLY}
    assert {each.name: each.default for each in new} == {
        "debug": False,
        "locking": "auto",
        "patience": 0.05,
        "header": None,
        "max_age": None,
        "max_total_bytes": None,
        "min_free_bytes": None,
        "current_link": None,
        "on_rotate": None,
        "compression": None,
        "compression_level": None,
        "upkeep": "background",
        "escape_newlines": False,
    }
    assert parameters[-1].kind == inspect.Parameter.VAR_KEYWORD


def test_the_handler_is_the_timed_one_of_the_standard_library(log: Path) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log)
    assert isinstance(handler, logging.handlers.TimedRotatingFileHandler)
    assert isinstance(handler, logging.handlers.BaseRotatingHandler)
    assert logging.handlers.ConcurrentTimedRotatingFileHandler is type(handler)  # type: ignore[attr-defined]
    assert repr(handler) == f"<ConcurrentTimedRotatingFileHandler {log} (NOTSET)>"
    handler.close()


def test_all_arguments_of_0_9_31_are_taken_by_position(log: Path, tmp_path: Path, clock: Clock) -> None:
    locks = tmp_path / "locks"
    values = (
        log,
        "midnight",
        2,
        3,
        "ascii",
        True,
        True,
        dt.time(12),
        None,
        7,
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
    handler = ConcurrentTimedRotatingFileHandler(*values)
    write(handler, "ä", "second", "third")  # the second finds three bytes, the third more than seven
    handler.close()
    assert files_of(tmp_path) == {LIVE: b"third\r\n", "app.log.2021-11-21": b"?\r\nsecond\r\n"}
    assert handler.rolloverAt == START + 2 * HOUR + DAY
    assert log.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in locks.iterdir()} == HELPERS
    assert clock.now == START


def files_of(folder: Path) -> Dict[str, bytes]:
    """Return the files of a folder that has no helpers in it."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def test_every_value_can_be_read_back_by_its_name(log: Path, tmp_path: Path) -> None:
    values: Dict[str, Any] = {
        "backupCount": 3,
        "encoding": "latin-1",
        "utc": True,
        "atTime": dt.time(3, 30),
        "errors": "replace",
        "maxBytes": 10,
        "owner": (os.getuid(), os.getgid()),
        "chmod": 0o640,
        "umask": 0o022,
        "newline": "\r\n",
        "terminator": "|",
        "unicode_error_policy": "strict",
        "keep_file_open": False,
        "header": "# head",
    }
    locks = tmp_path / "locks"
    handler = ConcurrentTimedRotatingFileHandler(log, "w3", 2, lock_file_directory=locks, **values)
    assert {name: getattr(handler, name) for name in values} == values
    assert {name: getattr(handler.clh, name) for name in values} == values
    assert (handler.when, handler.interval, handler.dayOfWeek) == ("W3", 14 * DAY, 3)
    assert (handler.suffix, handler.extMatch.pattern) == (STANDARD.suffix, STANDARD.extMatch.pattern)
    assert handler.baseFilename == str(log)
    assert handler.lockFilename == str(locks / LOCK)
    assert (handler.use_gzip, handler.num_rollovers, handler.namer, handler.rotator) == (False, 0, None, None)
    handler.close()


STANDARD = logging.handlers.TimedRotatingFileHandler(os.devnull, "D", delay=True)


@pytest.mark.parametrize("mode", ["a", "w", "r", None, 5])
def test_the_mode_is_taken_and_ignored(log: Path, mode: Any) -> None:
    log.write_bytes(b"old\n")
    handler = ConcurrentTimedRotatingFileHandler(log, mode=mode)
    write(handler, "new")
    handler.close()
    assert (handler.mode, log.read_bytes()) == ("a", b"old\nnew\n")


def test_an_argument_that_there_is_not_is_refused_by_its_name(log: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="max_bytes, whenn") as caught:
        ConcurrentTimedRotatingFileHandler(log, whenn="D", max_bytes=5, mode="a")
    assert "mode" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay", [False, True, None])
def test_the_live_file_comes_with_the_first_record_whatever_delay_says(log: Path, delay: Any) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log, delay=delay)
    assert not log.exists()
    write(handler, "text")
    handler.close()
    assert log.read_bytes() == b"text\n"


# ------------------------------------------------------------------------------------------- when, and how often

PERIODS: Dict[str, Tuple[int, int, str]] = {
    # when: the first rollover with interval=1 and with interval=3, as seconds after START, and the suffix
    "S": (1, 3, "%Y-%m-%d_%H-%M-%S"),
    "M": (60, 180, "%Y-%m-%d_%H-%M"),
    "H": (HOUR, 3 * HOUR, "%Y-%m-%d_%H"),
    "D": (DAY, 3 * DAY, "%Y-%m-%d"),
    "MIDNIGHT": (14 * HOUR, 14 * HOUR + 2 * DAY, "%Y-%m-%d"),
    "W0": (14 * HOUR, 14 * HOUR + 14 * DAY, "%Y-%m-%d"),  # a Monday ends at midnight
    "W1": (14 * HOUR + DAY, 14 * HOUR + 15 * DAY, "%Y-%m-%d"),
    "W6": (14 * HOUR + 6 * DAY, 14 * HOUR + 20 * DAY, "%Y-%m-%d"),
}


@pytest.mark.parametrize("case", [str.upper, str.lower, str.swapcase, str.capitalize])
@pytest.mark.parametrize("when", PERIODS)
def test_every_when_is_known_in_any_case(log: Path, clock: Clock, when: str, case: Any) -> None:
    once, thrice, suffix = PERIODS[when]
    for interval, after in ((1, once), (3, thrice)):
        handler = ConcurrentTimedRotatingFileHandler(
            log.with_name(f"{interval}.log"), case(when), interval, utc=True
        )
        assert (handler.when, handler.rolloverAt - clock.now, handler.suffix) == (when, after, suffix)
        handler.close()


@both_modes
@pytest.mark.parametrize("when", PERIODS)
def test_every_when_rotates_at_its_boundary_and_names_the_period_before(
    log: Path, clock: Clock, when: str, locking: str
) -> None:
    after, _, suffix = PERIODS[when]
    handler = ConcurrentTimedRotatingFileHandler(log, when, utc=True, locking=locking)
    write(handler, "first")
    clock.now = START + after - 0.001
    write(handler, "last")
    clock.now = START + after
    write(handler, "next")
    handler.close()
    begin = START + after - handler.interval
    name = time.strftime(f"app.log.{suffix}", time.gmtime(begin))
    assert files(log.parent) == {LIVE: b"next\n", name: b"first\nlast\n"}
    assert (handler.rolloverAt, handler.num_rollovers) == (START + after + handler.interval, 1)


@both_modes
def test_the_time_of_day_moves_the_boundary(log: Path, clock: Clock, locking: str) -> None:
    at_noon = dt.time(12, 0, 30)
    handler = ConcurrentTimedRotatingFileHandler(log, "MIDNIGHT", utc=True, atTime=at_noon, locking=locking)
    write(handler, "morning")
    clock.now += 2 * HOUR + 30
    write(handler, "noon")
    handler.close()
    assert files(log.parent) == {LIVE: b"noon\n", "app.log.2021-11-21": b"morning\n"}
    assert handler.rolloverAt == clock.now + DAY


def test_a_fraction_of_a_unit_that_comes_to_whole_seconds_is_an_interval(log: Path, clock: Clock) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log, "H", 1.5)  # type: ignore[arg-type]
    assert (handler.interval, handler.rolloverAt) == (5400, clock.now + 5400)
    handler.close()


# --------------------------------------------------------------------------------------------- other arguments


@pytest.mark.parametrize(
    ("arguments", "old", "live"),
    [
        ({"newline": "\r\n"}, b"one\r\n", b"two\r\n"),
        ({"terminator": "|"}, b"one|", b"two|"),
        ({"terminator": None}, b"one\n", b"two\n"),
        ({"encoding": "utf-16"}, "one\n".encode("utf-16"), "two\n".encode("utf-16")),
        ({"encoding": "utf-8-sig"}, codecs.BOM_UTF8 + b"one\n", codecs.BOM_UTF8 + b"two\n"),
        ({"header": "# head", "newline": "\r\n"}, b"# head\r\none\r\n", b"# head\r\ntwo\r\n"),
        ({"header": lambda: "", "keep_file_open": False}, b"one\n", b"two\n"),
    ],
)
@both_modes
def test_the_form_of_the_text_is_the_same_in_every_file(
    log: Path, clock: Clock, arguments: Dict[str, Any], old: bytes, live: bytes, locking: str
) -> None:
    if "keep_file_open" in arguments:
        locking = "auto"
    written_in_two_periods(log, clock, "one", "two", locking=locking, **arguments)
    assert files(log.parent) == {LIVE: live, "app.log.2021-11-22_10": old}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, b"ab\n"),
        ({"unicode_error_policy": "replace"}, b"a?b\n"),
        ({"errors": "xmlcharrefreplace"}, b"a&#8364;b\n"),
        ({"errors": "backslashreplace", "unicode_error_policy": "strict"}, b"a\\u20acb\n"),
    ],
)
def test_what_the_encoding_lacks_is_written_as_asked_for(
    log: Path, arguments: Dict[str, Any], expected: bytes
) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log, encoding="latin-1", **arguments)
    write(handler, "a\N{EURO SIGN}b")
    handler.close()
    assert log.read_bytes() == expected


@pytest.mark.parametrize("strict", [{"errors": "strict"}, {"unicode_error_policy": "strict"}])
def test_what_the_encoding_lacks_fails_if_that_is_asked_for(log: Path, strict: Dict[str, Any]) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log, encoding="latin-1", **strict)
    with pytest.raises(UnicodeEncodeError):
        write(handler, "a\N{EURO SIGN}b")
    handler.close()


@pytest.mark.parametrize(
    ("arguments", "mode"), [({"chmod": 0o640}, 0o640), ({"umask": 0o027}, 0o640), ({"umask": 0}, 0o666)]
)
@both_modes
def test_all_files_get_the_permissions(
    log: Path, clock: Clock, arguments: Dict[str, Any], mode: int, locking: str
) -> None:
    written_in_two_periods(log, clock, "one", "two", locking=locking, **arguments)
    found = {each.name: each.stat().st_mode & 0o777 for each in log.parent.iterdir()}
    for_writers = {0o640: 0o600}.get(mode, mode)
    assert found == {
        **dict.fromkeys([LIVE, "app.log.2021-11-22_10"], mode),
        **dict.fromkeys(HELPERS, for_writers),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_all_files_get_the_owner(log: Path, clock: Clock) -> None:
    written_in_two_periods(log, clock, "one", "two", owner=(65534, 65533))
    found = {each.name: (each.stat().st_uid, each.stat().st_gid) for each in log.parent.iterdir()}
    assert found == dict.fromkeys([LIVE, "app.log.2021-11-22_10", *HELPERS], (65534, 65533))


def test_the_helpers_stand_in_a_directory_of_their_own_that_is_made(
    log: Path, tmp_path: Path, clock: Clock
) -> None:
    locks = tmp_path / "locks" / "of-mine"
    written_in_two_periods(log, clock, "one", "two", lock_file_directory=locks)
    assert files_of(tmp_path) == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}
    assert {each.name for each in locks.iterdir()} == HELPERS
    assert (locks / LOCK).read_bytes() == str(START + 2 * HOUR).encode()


def test_a_log_that_is_not_kept_open_has_no_descriptor_between_two_records(log: Path, clock: Clock) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("there is no list of the open files")

    def open_files() -> List[str]:
        return [os.readlink(str(each)) for each in descriptors.iterdir() if each.is_symlink()]

    handler = ConcurrentTimedRotatingFileHandler(log, utc=True, keep_file_open=False)
    for text in ("one", "two"):
        write(handler, text)
        assert [each for each in open_files() if each.startswith(str(log.parent))] == []
        clock.now += HOUR
    handler.close()
    assert files(log.parent) == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}


@both_modes
def test_the_size_rotates_as_well(log: Path, clock: Clock, locking: str) -> None:
    handler = ConcurrentTimedRotatingFileHandler(log, utc=True, maxBytes=4, locking=locking)
    write(handler, "one", "two", "3", "4", "5")
    clock.now += HOUR
    write(handler, "6")
    handler.close()
    assert files(log.parent) == {
        LIVE: b"6\n",
        "app.log.2021-11-22_10": b"one\n",
        "app.log.2021-11-22_10.1": b"two\n",
        "app.log.2021-11-22_10.2": b"3\n4\n",
        "app.log.2021-11-22_10.3": b"5\n",
    }


def test_debug_tells_what_is_done_in_a_line_each(
    log: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    written_in_two_periods(log, clock, "one", "two", debug=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rpartition(": ")[2] for line in err.splitlines() if "rotating" in line] == [
        "rotating at 4 bytes"
    ]


# --------------------------------------------------------------------------------------------- wrong values

WRONG: List[Tuple[str, Any, Type[Exception]]] = [
    *(("when", value, ValueError) for value in ("", "X", "HH", "W", "W7", "W-", "W00", "MIDDAY", None, 5)),
    *(
        ("interval", value, ValueError)
        for value in (0, -1, 0.0001, "1", None, True, float("nan"), float("inf"), 10**12, 10**30)
    ),
    *(("atTime", value, ValueError) for value in ("noon", 12, dt.datetime(2021, 11, 22, 12), (12, 0))),  # noqa: DTZ001
    *(("backupCount", value, ValueError) for value in (-1, 1.5, "1", None, True)),
    *(("maxBytes", value, ValueError) for value in (-1, 1.5, "one", None, True)),
    ("encoding", "no-such-encoding", LookupError),
    ("errors", "no-such-handler", LookupError),
    ("owner", ("root",), ValueError),
    ("owner", ("no-such-user", "root"), LookupError),
    ("chmod", "640", ValueError),
    ("umask", -1, ValueError),
    ("newline", "x", ValueError),
    ("terminator", b"\n", ValueError),
    ("locking", "maybe", ValueError),
    ("patience", -1, ValueError),
    ("header", 5, ValueError),
    *(("max_age", value, ValueError) for value in (0, -1, "one", True, dt.timedelta(0), float("inf"))),
    *(("max_total_bytes", value, ValueError) for value in (-1, 1.5, "one", True)),
    *(("min_free_bytes", value, ValueError) for value in (-1, 1.5, "one", True)),
    *(("current_link", value, ValueError) for value in ("", "a\0b", LIVE)),
    ("on_rotate", "print", ValueError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_wrong_value_is_refused_by_its_name(
    log: Path, tmp_path: Path, name: str, value: Any, error: Type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        ConcurrentTimedRotatingFileHandler(log, **{name: value})
    message = str(caught.value)
    assert f"{name}={value!r}" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["MIDNIGHT", "W0"])
@pytest.mark.parametrize("interval", [0.5, 1.5])
def test_midnight_and_weekdays_know_no_fractions(log: Path, tmp_path: Path, when: str, interval: Any) -> None:
    with pytest.raises(ValueError, match=rf"interval={interval}.*when='{when}'"):
        ConcurrentTimedRotatingFileHandler(log, when, interval)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="filename: a directory cannot be a log"):
        ConcurrentTimedRotatingFileHandler(tmp_path)
    assert list(tmp_path.iterdir()) == []


def run(directory: Path, program: str) -> None:
    """Run a program in a process and a directory of its own; nothing may be said to the user."""
    code = "import logging, logging.config, sys\n" + textwrap.dedent(program)
    command = [sys.executable, "-W", "error", "-c", code]
    ended = run_program(command, cwd=directory)
    assert (ended.stderr, ended.stdout, ended.returncode) == ("", "", 0)


def test_a_program_that_keeps_the_error_of_a_refusal_ends_in_silence(tmp_path: Path) -> None:
    """`logging` closes at exit what ran through `Handler.__init__`, whether it was finished or not."""
    program = """
        from concurrent_log_handler import ConcurrentTimedRotatingFileHandler
        kept = []
        for name, value in (("when", "X"), ("interval", 0.0001), ("atTime", 5), ("maxBytes", -1), ("foo", 1)):
            try:
                ConcurrentTimedRotatingFileHandler("app.log", **{name: value})
            except (TypeError, ValueError) as error:
                kept.append(error)  # and with its traceback the handler that has not become one
        assert len(kept) == 5
    """
    run(tmp_path, program)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------ from configurations

TWO_HOURS = """
    import time
    now = 1637575200.0
    time.time = lambda: now
    def log_for_two_hours():
        global now
        for hour in range(2):
            logging.info("number %d \\N{EURO SIGN}", hour)
            logging.debug("not to be seen")
            now += 3600
            handler = logging.getLogger().handlers[0]
            handler.close()  # so that it looks at the clock
"""
TWO_FILES = {
    LIVE: "# head\r\nINFO number 1 €\r\n".encode(),
    "app.log.2021-11-22_10": "# head\r\nINFO number 0 €\r\n".encode(),
}


@pytest.mark.parametrize(
    "kind",
    [
        "concurrent_log_handler.ConcurrentTimedRotatingFileHandler",
        "logging.handlers.ConcurrentTimedRotatingFileHandler",
    ],
)
def test_a_dictionary_configures_the_handler(tmp_path: Path, kind: str) -> None:
    program = f"""
        import concurrent_log_handler
        logging.config.dictConfig({{
            "version": 1,
            "formatters": {{"plain": {{"format": "%(levelname)s %(message)s"}}}},
            "handlers": {{
                "file": {{
                    "class": "{kind}",
                    "formatter": "plain",
                    "level": "INFO",
                    "filename": "app.log",
                    "when": "h",
                    "mode": "a",
                    "utc": True,
                    "backupCount": 5,
                    "encoding": "utf-8",
                    "newline": "\\r\\n",
                    "header": "# head",
                }},
            }},
            "root": {{"level": "DEBUG", "handlers": ["file"]}},
        }})
        log_for_two_hours()
    """
    run(tmp_path, textwrap.dedent(TWO_HOURS) + textwrap.dedent(program))
    assert files(tmp_path) == TWO_FILES


def test_a_dictionary_sets_attributes_such_as_suffix_and_namer(tmp_path: Path) -> None:
    program = """
        def namer(default):
            return default + ".old"
        logging.config.dictConfig({
            "version": 1,
            "handlers": {
                "file": {
                    "class": "concurrent_log_handler.ConcurrentTimedRotatingFileHandler",
                    "level": "INFO",
                    "filename": "app.log",
                    "encoding": "utf-8",
                    "utc": True,
                    ".": {"namer": namer, "suffix": "%H"},
                },
            },
            "root": {"level": "DEBUG", "handlers": ["file"]},
        })
        log_for_two_hours()
    """
    run(tmp_path, textwrap.dedent(TWO_HOURS) + textwrap.dedent(program))
    assert files(tmp_path) == {LIVE: "number 1 €\n".encode(), "app.log.10.old": "number 0 €\n".encode()}


@pytest.mark.skipif(sys.version_info < (3, 7), reason="fileConfig knows kwargs from Python 3.7 on")
@pytest.mark.parametrize(
    "lines",
    [
        """
        class=concurrent_log_handler.ConcurrentTimedRotatingFileHandler
        args=("app.log", "H", 1, 5, "utf-8", False, True)
        kwargs={"header": "# head", "newline": "\\r\\n"}
        """,
        """
        class=handlers.ConcurrentTimedRotatingFileHandler
        args=("app.log",)
        kwargs={"encoding": "utf-8", "utc": True, "header": "# head", "newline": "", "terminator": "\\r\\n"}
        """,
    ],
)
def test_a_file_configures_the_handler(tmp_path: Path, lines: str) -> None:
    configuration = """
        [loggers]
        keys=root
        [handlers]
        keys=file
        [formatters]
        keys=plain
        [logger_root]
        level=DEBUG
        handlers=file
        [formatter_plain]
        format=%(levelname)s %(message)s
        [handler_file]
        level=INFO
        formatter=plain
    """
    (tmp_path / "logs").mkdir()
    text = textwrap.dedent(configuration) + textwrap.dedent(lines).lstrip()
    (tmp_path / "logging.ini").write_text(text, encoding="utf-8")
    program = """
        import concurrent_log_handler, os
        os.chdir("logs")
        logging.config.fileConfig("../logging.ini")
        log_for_two_hours()
    """
    run(tmp_path, textwrap.dedent(TWO_HOURS) + textwrap.dedent(program))
    assert files(tmp_path / "logs") == TWO_FILES
