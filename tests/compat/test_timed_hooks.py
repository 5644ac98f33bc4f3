"""What users plug into the timed handler, also as code for 0.9.x does; and that its failures cost no record."""

import datetime as dt
import functools
import logging
import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from support.folder import LIVE, LOCK, PAGE
from support.timed import Handler, TimedLog, in_its_time, instant, told

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
by_subclass_or_attribute = pytest.mark.parametrize("on", ["subclass", "instance"])


class Log(TimedLog):
    """A log that is written to at several times of the day."""

    def at_each(self, *times: str) -> None:
        """Log each of these times of day when it has come."""
        for each in times:
            self.at(each, each)

    def at_half_past(self, *hours: str) -> None:
        """Log each of these hours when half of it is over."""
        for each in hours:
            self.at(f"{each}:30", each)

    def files(self) -> Dict[str, bytes]:
        """Return what is in the folder, the helpers left out once they are found to agree."""
        self.noted()
        found = {each.name: each.read_bytes() for each in self.folder.iterdir() if each.is_file()}
        del found[LOCK]
        assert len(found.pop(PAGE)) % 2 == 0
        return found


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    yield from in_its_time(Log(tmp_path), monkeypatch, capsys)


def fail(*_: Any) -> Any:
    raise ValueError("it does not work")


def with_method(log: Log, name: str, method: Callable[..., Any], on: str, **arguments: Any) -> Handler:
    """Open a log with a method of one's own: by a subclass, or set on the handler."""
    if on == "subclass":
        return log.open(type("Subclass", (Handler,), {name: method}), **arguments)
    handler = log.open(**arguments)
    setattr(handler, name, method.__get__(handler))
    return handler


# ---------------------------------------------------------------------------------- finalize_handler_configuration


def test_the_hook_comes_after_the_set_up_and_before_the_first_rollover(log: Log) -> None:
    seen: List[Any] = []

    class Hooked(Handler):
        def finalize_handler_configuration(self) -> None:
            super().finalize_handler_configuration()
            seen.append((self.when, self.interval, self.suffix, self.utc, self.maxBytes, self.terminator))
            seen.append((self.clh.backupCount, self.baseFilename, self.lockFilename, self.num_rollovers))
            seen.append(sorted(each.name for each in log.folder.iterdir()))

    (log.folder / LIVE).write_bytes(b"old\n")
    (log.folder / LOCK).write_bytes(b"%d" % instant("09:00"))
    handler = log.open(Hooked, maxBytes=70, backupCount=7, terminator="|")
    live, lock = str(log.folder / LIVE), str(log.folder / LOCK)
    assert seen == [("H", 3600, "%Y-%m-%d_%H", True, 70, "|"), (7, live, lock, 0), [LOCK, LIVE]]
    assert handler.terminator == "|"


@pytest.mark.parametrize("when", ["overdue", "later"])
@both_modes
def test_a_suffix_that_the_hook_sets_names_all_files(log: Log, locking: str, when: str) -> None:
    """As in the README of 0.9.x."""

    class CustomSuffixHandler(Handler):
        def __init__(self, filename: str, custom_suffix: str, **arguments: Any) -> None:
            self.custom_suffix = custom_suffix
            super().__init__(filename, **arguments)

        def finalize_handler_configuration(self) -> None:
            super().finalize_handler_configuration()
            if self.custom_suffix:
                self.suffix = self.custom_suffix

    if when == "overdue":
        log.now = instant("08:00")
        log.open().close()
        (log.folder / LIVE).write_bytes(b"early\n")
        os.utime(log.folder / LIVE, (log.now, log.now))
        log.now = instant("10:00")
    log.open(CustomSuffixHandler, custom_suffix="%Y-%m-%d_%H-%M-%S.log", locking=locking)
    log.at("10:30", "one")
    log.at("11:30", "two")
    early = {"app.log.2021-11-22_08-00-00.log": b"early\n"} if when == "overdue" else {}
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_10-00-00.log": b"one\n", **early}


@both_modes
def test_namer_and_rotator_that_the_hook_sets_serve_the_rollover_at_the_start(log: Log, locking: str) -> None:
    class Hooked(Handler):
        def finalize_handler_configuration(self) -> None:
            self.namer = lambda default: default + ".old"
            self.rotator = os.rename

    log.open()
    log.at("10:30", "one")
    log.handlers[0].close()
    os.utime(log.folder / LIVE, (log.now, log.now))
    log.now = instant("11:30")
    log.open(Hooked, locking=locking)
    assert log.files() == {LIVE: b"", "app.log.2021-11-22_10.old": b"one\n"}
    log.at("12:00", "two")
    log.at("13:00", "three")
    found = log.files()
    assert sorted(found.values()) == [b"one\n", b"three\n", b"two\n"]
    assert set(found) == {LIVE, "app.log.2021-11-22_10.old", "app.log.2021-11-22_11.old"}


# ------------------------------------------------------------------------------- suffix, extMatch, namer, rotator


@both_modes
def test_a_suffix_that_is_set_after_the_construction_names_the_next_file(log: Log, locking: str) -> None:
    handler = log.open(locking=locking)
    log.at("10:30", "one")
    handler.suffix = "%Y%m%d-%H%M"
    log.at("11:30", "two")
    handler.suffix = "%j"
    log.at("12:30", "three")
    assert log.files() == {
        LIVE: b"three\n",
        "app.log.20211122-1000": b"one\n",
        "app.log.326": b"two\n",
    }


@by_subclass_or_attribute
@both_modes
def test_a_namer_names_the_first_file_of_a_period(log: Log, locking: str, on: str) -> None:
    asked: List[str] = []

    def namer(_: Any, default: str) -> str:
        asked.append(Path(default).name)
        return default.replace(".log.", "-") + ".log"

    with_method(log, "namer", namer, on, maxBytes=4, locking=locking)
    log.at("10:10", "one", "two", "three")
    log.at("11:10", "four")
    assert log.files() == {
        LIVE: b"four\n",
        "app-2021-11-22_10.log": b"one\n",
        "app-2021-11-22_10.log.1": b"two\n",
        "app-2021-11-22_10.log.2": b"three\n",
    }
    assert set(asked) == {"app.log.2021-11-22_10"}


@by_subclass_or_attribute
def test_an_overridden_rotation_filename_names_the_files(log: Log, on: str) -> None:
    def rotation_filename(self: Any, default_name: str) -> str:
        return f"{default_name}.{self.backupCount}-kept"

    with_method(log, "rotation_filename", rotation_filename, on, backupCount=2)
    log.at_half_past("10", "11", "12", "13")
    assert log.files() == {
        LIVE: b"13\n",
        "app.log.2021-11-22_11.2-kept": b"11\n",
        "app.log.2021-11-22_12.2-kept": b"12\n",
    }


@pytest.mark.parametrize("hook", ["rotator", "rotate"])
@by_subclass_or_attribute
@both_modes
def test_a_rotator_moves_the_live_file(log: Log, locking: str, on: str, hook: str) -> None:
    def rotator(_: Any, source: str, dest: str) -> None:
        Path(dest).write_bytes(Path(source).read_bytes().upper())
        Path(source).unlink()

    with_method(log, hook, rotator, on, locking=locking, backupCount=2)
    for hour, text in (("10", "a"), ("11", "b"), ("12", "c"), ("13", "d")):
        log.at(f"{hour}:30", text, text)
    assert log.files() == {
        LIVE: b"d\nd\n",
        "app.log.2021-11-22_11": b"B\nB\n",
        "app.log.2021-11-22_12": b"C\nC\n",
    }


@both_modes
def test_an_ext_match_of_the_users_adds_what_the_suffix_does_not_read_back(log: Log, locking: str) -> None:
    """`%C`, the century, is none of the directives that `strptime` reads."""
    handler = log.open(backupCount=2, locking=locking)
    handler.suffix, handler.extMatch = "%C%y-%m-%d_%H", re.compile(r"^\d{4}-\d{2}-\d{2}_\d{2}$", re.ASCII)
    (log.folder / "app.log.2021-11-22_x").write_bytes(b"not ours\n")
    log.at_half_past("10", "11", "12", "13")
    assert log.files() == {
        LIVE: b"13\n",
        "app.log.2021-11-22_11": b"11\n",
        "app.log.2021-11-22_12": b"12\n",
        "app.log.2021-11-22_x": b"not ours\n",
    }


# ------------------------------------------------------------------------------------------------ computeRollover


@by_subclass_or_attribute
@both_modes
def test_an_overridden_compute_rollover_sets_the_boundaries(log: Log, locking: str, on: str) -> None:
    """Quarters of an hour by the clock, as they are often asked for."""

    def compute_rollover(_: Any, now: float) -> int:
        return (int(now) // 900 + 1) * 900

    log.now = instant("09:55")
    handler = with_method(
        log, "computeRollover", compute_rollover, on, when="M", interval=15, locking=locking
    )
    if on == "instance":  # the first boundary has been computed by then
        handler.rolloverAt = instant("10:00")
    log.at("09:55", "a")
    log.at("10:07", "b")
    log.at("10:14", "c")
    log.at("10:15", "d")
    log.at("11:14", "e")  # after three periods without a record
    log.at("11:15", "f")
    assert log.files() == {
        LIVE: b"f\n",
        "app.log.2021-11-22_09-45": b"a\n",
        "app.log.2021-11-22_10-00": b"b\nc\n",
        "app.log.2021-11-22_10-15": b"d\n",
        "app.log.2021-11-22_11-00": b"e\n",
    }
    assert handler.rolloverAt == instant("11:30")


def test_an_overridden_compute_rollover_is_given_a_whole_number_and_may_ask_the_original(log: Log) -> None:
    given: List[float] = []

    class Later(Handler):
        def computeRollover(self, currentTime: float) -> int:  # noqa: N802, N803 - logging named them
            given.append(currentTime)
            return super().computeRollover(currentTime) + 60

    handler = log.open(Later)
    assert handler.rolloverAt == instant("11:01")
    log.at("11:00", "one")
    log.at("11:01", "two")
    assert handler.rolloverAt == instant("12:02")
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}
    assert {type(each) for each in given} == {int}


@pytest.mark.parametrize("answer", [0, 1637575200.5, instant("10:30")])
@pytest.mark.timeout(20)
def test_a_computed_rollover_that_is_over_is_followed_by_whole_intervals(log: Log, answer: float) -> None:
    """As in the standard library."""
    handler = log.open(when="S", interval=10)
    vars(handler)["computeRollover"] = lambda _: answer
    log.at("10:30", "one")
    log.at("10:31", "two")
    assert 0 < handler.rolloverAt - log.now <= 10
    assert (handler.rolloverAt - int(answer)) % 10 == 0
    assert sorted(log.files().values()) == [b"one\n", b"two\n"]


GARBAGE: Dict[str, Callable[[float], Any]] = {
    "raises": lambda _: 1 // 0,
    "raises-an-os-error": lambda _: Path("missing").stat(),
    "nothing": lambda _: None,
    "text": lambda _: "tomorrow",
    "nan": lambda _: float("nan"),
    "infinity": lambda _: float("inf"),
    "minus-infinity": lambda _: float("-inf"),
    "datetime": lambda _: dt.datetime(2021, 11, 22),  # noqa: DTZ001
    "beyond-all-years": lambda _: 10**30,
}


@pytest.mark.parametrize("answer", GARBAGE)
@both_modes
@pytest.mark.timeout(20)
def test_a_compute_rollover_that_fails_later_is_reported_once_and_replaced(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, answer: str
) -> None:
    handler = log.open(locking=locking)
    log.at("10:30", "one")
    vars(handler)["computeRollover"] = GARBAGE[answer]
    for time_of_day, text in (("10:40", "two"), ("11:10", "three"), ("11:20", "four"), ("12:30", "five")):
        log.at(time_of_day, text)
    assert log.files() == {
        LIVE: b"five\n",
        "app.log.2021-11-22_10": b"one\ntwo\n",
        "app.log.2021-11-22_11": b"three\nfour\n",
    }
    (line,) = told(capsys)
    assert line.startswith("computeRollover failed: ")


@pytest.mark.parametrize("answer", GARBAGE)
@pytest.mark.timeout(20)
def test_a_compute_rollover_that_fails_from_the_start_is_reported_once_and_replaced(
    log: Log, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    """It may do so only at some times of the day: no program may then fail to start."""
    kind = type("Failing", (Handler,), {"computeRollover": lambda _, now: GARBAGE[answer](now)})
    log.open(kind)
    for time_of_day, text in (("10:40", "one"), ("11:10", "two")):
        log.at(time_of_day, text)
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}
    (line,) = told(capsys)
    assert line.startswith("computeRollover failed: ")


# ----------------------------------------------------------------------------------------------- getFilesToDelete


@by_subclass_or_attribute
@both_modes
def test_an_overridden_get_files_to_delete_may_ask_for_more(log: Log, locking: str, on: str) -> None:
    def get_files_to_delete(self: Any) -> List[str]:
        own = sorted(str(each) for each in log.folder.glob("*.tmp-of-mine"))
        return own + Handler.getFilesToDelete(self)

    for name in "ab":
        (log.folder / f"{name}.tmp-of-mine").write_bytes(b"")
    with_method(log, "getFilesToDelete", get_files_to_delete, on, backupCount=1, locking=locking)
    log.at_half_past("10", "11", "12")
    assert log.files() == {LIVE: b"12\n", "app.log.2021-11-22_11": b"11\n"}


@by_subclass_or_attribute
@both_modes
def test_an_overridden_get_files_to_delete_may_spare_files(log: Log, locking: str, on: str) -> None:
    """It is the rule by which `backupCount` is applied, here and in the standard library."""

    def get_files_to_delete(self: Any) -> List[str]:
        return [path for path in Handler.getFilesToDelete(self) if b"keep" not in Path(path).read_bytes()]

    with_method(log, "getFilesToDelete", get_files_to_delete, on, backupCount=1, locking=locking)
    for hour, text in (("10", "keep"), ("11", "b"), ("12", "c"), ("13", "d")):
        log.at(f"{hour}:30", text)
    assert log.files() == {
        LIVE: b"d\n",
        "app.log.2021-11-22_10": b"keep\n",
        "app.log.2021-11-22_12": b"c\n",
    }


def test_without_backup_count_get_files_to_delete_is_not_asked(log: Log) -> None:
    with_method(log, "getFilesToDelete", lambda _: 1 // 0, "subclass")
    log.at_half_past("10", "11", "12")
    assert len(log.files()) == 3


def test_get_files_to_delete_tells_what_would_go(log: Log) -> None:
    handler = log.open()
    assert handler.getFilesToDelete() == []
    log.at_half_past("10", "11", "12", "13")
    handler.backupCount = 1
    found = [Path(path).name for path in handler.getFilesToDelete()]
    assert found == ["app.log.2021-11-22_10", "app.log.2021-11-22_11"]
    handler.backupCount = 9
    assert handler.getFilesToDelete() == []
    assert len(log.files()) == 4


@pytest.mark.parametrize(
    "answer",
    [lambda _: 1 // 0, lambda _: None, lambda _: 5, lambda _: [5], lambda _: [None], lambda _: ["a\0b"]],
    ids=["raises", "nothing", "a-number", "numbers", "nothings", "no-paths"],
)
def test_a_get_files_to_delete_that_fails_is_reported_once_and_logging_goes_on(
    log: Log, capsys: pytest.CaptureFixture[str], answer: Callable[[Any], Any]
) -> None:
    with_method(log, "getFilesToDelete", answer, "subclass", backupCount=1)
    log.at_half_past("10", "11", "12", "13")
    found = log.files()
    assert found[LIVE] == b"13\n"
    assert set(found.values()) <= {b"10\n", b"11\n", b"12\n", b"13\n"}
    (line,) = told(capsys)
    assert "getFilesToDelete" in line


def test_get_files_to_delete_cannot_have_the_live_file_deleted_nor_what_is_not_there(log: Log) -> None:
    paths = [str(log.folder / LIVE), str(log.folder / "missing")]
    with_method(log, "getFilesToDelete", lambda _: paths, "subclass", backupCount=5)
    log.at_half_past("10", "11", "12")
    assert log.files() == {
        LIVE: b"12\n",
        "app.log.2021-11-22_10": b"10\n",
        "app.log.2021-11-22_11": b"11\n",
    }


# --------------------------------------------------------------------------------------- shouldRollover, doRollover


@by_subclass_or_attribute
def test_an_overridden_should_rollover_has_the_only_say(log: Log, on: str) -> None:
    def should_rollover(_: Any, record: logging.LogRecord) -> bool:
        return record.msg.startswith("chapter")

    with_method(log, "shouldRollover", should_rollover, on, maxBytes=1)
    log.at("10:30", "a", "chapter 1", "b")
    log.at("11:30", "c", "chapter 2")
    log.at("11:40", "d", "chapter 3")
    assert log.files() == {
        LIVE: b"chapter 3\n",
        "app.log.2021-11-22_10": b"a\n",
        # At 11:30 it was not asked for by the time but by the text; that has begun the next period.
        "app.log.2021-11-22_10.1": b"chapter 1\nb\nc\n",
        "app.log.2021-11-22_11": b"chapter 2\nd\n",
    }


@pytest.mark.parametrize(
    "original",
    [
        Handler.shouldRollover,
        lambda self, record: self.clh.shouldRollover(record) or self.rolloverAt <= time.time(),
    ],
    ids=["super", "clh"],
)
def test_an_overridden_should_rollover_may_ask_for_time_and_size(
    log: Log, original: Callable[..., bool]
) -> None:
    def should_rollover(self: Any, record: logging.LogRecord) -> bool:
        return record.msg != "never" and original(self, record)

    with_method(log, "shouldRollover", should_rollover, "subclass", maxBytes=8)
    log.at("10:30", "one", "two", "never", "three")
    log.at("11:30", "never", "four")
    assert log.files() == {
        LIVE: b"four\n",
        "app.log.2021-11-22_10": b"one\ntwo\nnever\n",
        "app.log.2021-11-22_10.1": b"three\nnever\n",
    }


@pytest.mark.parametrize("overridden", ["shouldRollover", "doRollover", "nothing"])
def test_an_empty_log_is_not_rotated_whatever_is_overridden(log: Log, overridden: str) -> None:
    class Overridden(Handler):
        pass

    if overridden != "nothing":  # but does the same
        original = getattr(Handler, overridden)
        setattr(Overridden, overridden, functools.partialmethod(original))
    handler = log.open(Overridden)
    log.at("10:30", "one")
    handler.doRollover()
    assert log.files() == {LIVE: b"", "app.log.2021-11-22_10": b"one\n"}
    log.at("11:30", "two")
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}
    assert handler.rolloverAt == instant("12:30")


@by_subclass_or_attribute
@both_modes
def test_an_overridden_do_rollover_is_called_under_the_lock_and_may_call_the_original(
    log: Log, locking: str, on: str
) -> None:
    held: List[bool] = []

    def do_rollover(self: Handler) -> None:
        held.append(self._log.files.lock.held)
        Handler.doRollover(self)
        held.append(self._log.files.lock.held)

    handler = with_method(log, "doRollover", do_rollover, on, locking=locking, backupCount=1, maxBytes=8)
    log.at("10:30", "one", "two", "three")
    log.at("11:30", "four")
    assert log.files() == {LIVE: b"four\n", "app.log.2021-11-22_10.1": b"three\n"}
    assert held == [True] * 4
    handler.doRollover()
    handler._control.wait()
    assert log.files() == {LIVE: b"", "app.log.2021-11-22_11": b"four\n"}
    assert held == [True] * 4 + [False] * 2
    assert handler.num_rollovers == 3


@both_modes
def test_an_overridden_do_rollover_may_do_it_all_by_itself(log: Log, locking: str) -> None:
    """As it was done for 0.9.x: rename, compute, set, write."""

    class ByItself(Handler):
        def doRollover(self) -> None:  # noqa: N802 - logging named it
            Path(self.baseFilename).rename(f"{self.baseFilename}.until-{self.rolloverAt}")
            self.rolloverAt = self.computeRollover(int(time.time()))
            self.write_rollover_time()

    handler = log.open(ByItself, locking=locking)
    log.at("10:30", "one")
    log.at("11:30", "two")
    log.at("12:40", "three")
    assert log.files() == {
        LIVE: b"three\n",
        f"app.log.until-{instant('11:00')}": b"one\n",
        f"app.log.until-{instant('12:30')}": b"two\n",
    }
    assert handler.rolloverAt == log.noted() == instant("13:40")


@pytest.mark.parametrize("method", ["shouldRollover", "doRollover"])
@by_subclass_or_attribute
def test_an_overridden_rule_that_fails_is_reported_once_and_the_log_grows(
    log: Log, capsys: pytest.CaptureFixture[str], on: str, method: str
) -> None:
    with_method(log, method, fail, on)
    for hour in ("10", "11", "12", "13"):
        log.at(f"{hour}:30", hour, hour)
    assert log.files() == {LIVE: b"10\n10\n11\n11\n12\n12\n13\n13\n"}
    (line,) = told(capsys)
    assert line == f"{method} failed: it does not work"


@both_modes
def test_a_rollover_by_hand_takes_the_name_of_the_period_and_leaves_the_boundary(
    log: Log, locking: str
) -> None:
    handler = log.open(locking=locking)
    log.at("10:30", "one")
    handler.doRollover()
    log.at("10:40", "two")
    handler.doRollover()
    log.at("11:00", "three")
    assert log.files() == {
        LIVE: b"three\n",
        "app.log.2021-11-22_10": b"one\n",
        "app.log.2021-11-22_10.1": b"two\n",
    }
    assert handler.num_rollovers == 2  # the empty file that the boundary has found counts for none
    assert handler.rolloverAt == instant("12:00")


def test_from_outside_should_rollover_tells_what_the_next_record_would_do(log: Log) -> None:
    handler, peer = log.open(maxBytes=100), log.open()
    record = logging.makeLogRecord({"msg": "x"})
    log.at("10:30", "one")
    assert not handler.shouldRollover(record)
    log.now = instant("11:00")
    assert handler.shouldRollover(record)
    log.at("11:00", "two", by=peer)
    assert not handler.shouldRollover(record)
    handler.maxBytes = 2
    assert handler.shouldRollover(record)


# ---------------------------------------------------------------------------------------------------- rolloverAt


@both_modes
def test_a_rollover_time_that_is_set_holds_for_all_handlers_and_for_later_ones(
    log: Log, locking: str
) -> None:
    handler, peer = log.open(locking=locking), log.open(locking=locking)
    log.at("10:01", "one", by=peer)
    handler.rolloverAt = instant("10:05")
    assert log.noted() == instant("10:05")
    log.at("10:04", "two", by=peer)
    assert peer.rolloverAt == handler.rolloverAt == log.open().rolloverAt == instant("10:05")
    log.at("10:05", "three", by=peer)
    assert log.files() == {LIVE: b"three\n", "app.log.2021-11-22_09": b"one\ntwo\n"}
    assert peer.rolloverAt == log.noted() == instant("11:05")


@both_modes
def test_a_rollover_time_that_is_over_rotates_before_the_next_record(log: Log, locking: str) -> None:
    handler = log.open(locking=locking)
    log.at("10:30", "one")
    handler.rolloverAt = instant("10:10")
    log.at("10:30", "two", "three")
    assert log.files() == {LIVE: b"two\nthree\n", "app.log.2021-11-22_09": b"one\n"}
    assert handler.rolloverAt == instant("11:30")


@both_modes
def test_a_rollover_time_that_is_set_a_period_later_is_kept(log: Log, locking: str) -> None:
    handler = log.open(locking=locking)
    log.at("10:30", "one")
    handler.rolloverAt = instant("12:15")
    log.at("11:30", "two")
    log.at("12:14", "three")
    log.at("12:15", "four")
    assert log.files() == {LIVE: b"four\n", "app.log.2021-11-22_11": b"one\ntwo\nthree\n"}


def test_floats_are_rollover_times(log: Log) -> None:
    handler = log.open()
    vars(type(handler))["rolloverAt"].__set__(handler, instant("10:05") + 0.5)
    assert handler.rolloverAt == log.noted() == instant("10:05")


# ------------------------------------------------------------------- initialize_, read_ and write_rollover_time


class KeptElsewhere(Handler):
    """Keeps the next rollover in a file of its own, by methods that 0.9.x has for it."""

    def read_rollover_time(self) -> None:
        path = Path(self.baseFilename + ".next")
        self.rolloverAt = int(path.read_bytes()) if path.exists() else self.computeRollover(int(time.time()))

    def write_rollover_time(self) -> None:
        Path(self.baseFilename + ".next").write_bytes(b"%d" % self.rolloverAt)


@both_modes
def test_a_subclass_may_keep_the_time_elsewhere(log: Log, locking: str) -> None:
    log.open(KeptElsewhere, locking=locking)
    elsewhere = log.folder / "app.log.next"
    log.at("10:30", "one")
    log.at("11:30", "two")
    assert int(elsewhere.read_bytes()) == instant("12:30")
    elsewhere.write_bytes(b"%d" % instant("11:50"))
    log.at("11:50", "three")
    assert log.files() == {
        LIVE: b"three\n",
        "app.log.2021-11-22_10": b"one\n",
        "app.log.2021-11-22_10.1": b"two\n",  # of the hour from 10:50 to 11:50
        "app.log.next": b"%d" % instant("12:50"),
    }
    peer = log.open(KeptElsewhere, locking=locking)
    assert peer.rolloverAt == instant("12:50")


@both_modes
def test_a_subclass_may_align_what_it_has_read(log: Log, locking: str) -> None:
    """To half past the hour."""

    class Aligned(Handler):
        def read_rollover_time(self) -> None:
            super().read_rollover_time()
            self.rolloverAt = self.rolloverAt // 3600 * 3600 + 1800

    handler = log.open(Aligned, locking=locking)
    assert handler.rolloverAt == log.noted() == instant("11:30")
    log.at("10:59", "one")
    log.at("11:29", "two")
    log.at("11:30", "three")
    log.at("12:29", "four")
    log.at("12:30", "five")
    assert log.files() == {
        LIVE: b"five\n",
        "app.log.2021-11-22_10": b"one\ntwo\n",
        "app.log.2021-11-22_11": b"three\nfour\n",
    }
    assert handler.rolloverAt == log.noted() == instant("13:30")


@both_modes
def test_a_subclass_may_set_and_write_the_first_time_itself(log: Log, locking: str) -> None:
    class Own(Handler):
        def initialize_rollover_time(self) -> None:
            super().initialize_rollover_time()
            self.rolloverAt = instant("10:15")
            self.write_rollover_time()

    handler = log.open(Own, locking=locking)
    assert handler.rolloverAt == log.noted() == instant("10:15")
    log.at("10:10", "one")
    log.at("10:15", "two")
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_09": b"one\n"}


@pytest.mark.parametrize("writes", [False, True])
@both_modes
def test_a_subclass_may_leave_out_what_is_done_at_the_start(log: Log, locking: str, writes: bool) -> None:
    class Own(Handler):
        def initialize_rollover_time(self) -> None:
            self.rolloverAt = instant("10:15")
            if writes:
                self.write_rollover_time()

    handler = log.open(Own, locking=locking)
    if not writes:  # for want of that, what stands there goes; but once it is made, setting it does it
        log.at("10:00", "zero")
        handler.rolloverAt = instant("10:15")
    log.at("10:10", "one")
    log.at("10:15", "two")
    one = b"one\n" if writes else b"zero\none\n"
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_09": one}
    assert handler.rolloverAt == log.noted() == instant("11:15")


def test_initialize_may_be_called_once_more(log: Log) -> None:
    handler = log.open()
    log.at("10:30", "one")
    handler.initialize_rollover_time()
    assert (handler.rolloverAt, log.files()) == (instant("11:00"), {LIVE: b"one\n"})
    log.now = instant("11:10")
    handler.initialize_rollover_time()
    assert log.files() == {LIVE: b"", "app.log.2021-11-22_10": b"one\n"}
    log.at("11:20", "two")
    assert log.files() == {LIVE: b"two\n", "app.log.2021-11-22_10": b"one\n"}


@both_modes
def test_read_rollover_time_from_outside_learns_what_a_peer_has_done(log: Log, locking: str) -> None:
    handler, peer = log.open(locking=locking), log.open(locking=locking)
    for used in (False, True):
        if used:
            log.at("11:10", "zero", by=handler)
        peer.rolloverAt = at = instant("11:40") + used
        handler.read_rollover_time()
        assert handler.rolloverAt == at


@pytest.mark.parametrize("method", ["read_rollover_time", "write_rollover_time"])
@by_subclass_or_attribute
@both_modes
def test_one_of_these_that_fails_is_reported_once_and_logging_goes_on(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, on: str, method: str
) -> None:
    with_method(log, method, fail, on, locking=locking)
    log.at_each("10:30", "11:30", "11:40", "12:50")
    in_order = [*sorted(log.folder.glob("app.log.*")), log.folder / LIVE]
    assert b"".join(path.read_bytes() for path in in_order) == b"10:30\n11:30\n11:40\n12:50\n"
    (line,) = told(capsys)
    assert line == f"{method} failed: it does not work"


# ------------------------------------------------------------------------------------------------------------ clh


@both_modes
def test_clh_is_the_part_that_rotates_by_size(log: Log, locking: str) -> None:
    handler = log.open(maxBytes=4, backupCount=5, locking=locking)
    record = logging.makeLogRecord({"msg": "x"})
    assert (handler.clh.maxBytes, handler.clh.backupCount) == (4, 5)
    assert not handler.clh.shouldRollover(record)
    log.at("10:30", "one")
    assert handler.clh.shouldRollover(record)
    log.now = instant("11:30")
    handler.clh.maxBytes = 100
    assert not handler.clh.shouldRollover(record)
    assert handler.shouldRollover(record)
    assert handler.maxBytes == 100
    handler.clh.backupCount = 1
    log.at("11:30", "two")
    log.at("12:30", "three")
    assert log.files() == {LIVE: b"three\n", "app.log.2021-11-22_11": b"two\n"}
    with pytest.raises(ValueError, match="maxBytes=-1"):
        handler.clh.maxBytes = -1
    with pytest.raises(AttributeError, match="no_such_thing"):
        handler.clh.no_such_thing  # noqa: B018


# ---------------------------------------------------------------------------------------- failures of other hooks


def report_of_a_broken(
    hook: str, broken: Any, log: Log, capsys: pytest.CaptureFixture[str], sound: Any = None, **arguments: Any
) -> str:
    """Break what a rotation needs for some hours, in which the log grows, and mend it; return the one report."""
    handler = log.open(backupCount=3, **arguments)
    log.at("10:30", "one")
    setattr(handler, hook, broken)
    log.at_each("11:10", "11:20", "12:30")
    grown = b"one\n11:10\n11:20\n12:30\n"
    assert log.files() == {LIVE: grown}
    (line,) = told(capsys)
    setattr(handler, hook, sound)
    log.at("12:40", "mended")
    backup = time.strftime(f"app.log.{handler.suffix}", time.gmtime(instant("10:00")))
    assert log.files() == {LIVE: b"mended\n", backup: grown}
    return line


@pytest.mark.parametrize("suffix", [None, 5, "%Y\0", "a/b", "%Y/%m", "x" * 300, b"%Y"])
@both_modes
def test_a_suffix_that_names_nothing_is_reported_once_and_the_log_grows(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, suffix: Any
) -> None:
    line = report_of_a_broken("suffix", suffix, log, capsys, sound="%H", locking=locking)
    assert line.startswith("cannot rotate: ")


@pytest.mark.parametrize("suffix", ["", "%", "%Q", "constant", "%%", ".", "..", "%a"])
@both_modes
def test_a_suffix_without_a_date_still_names_every_file(log: Log, locking: str, suffix: str) -> None:
    handler = log.open(locking=locking, backupCount=9)
    handler.suffix = suffix
    log.at_half_past("10", "11", "12")
    first = f"app.log.{time.strftime(suffix, time.gmtime(instant('10:00')))}"
    assert log.files() == {LIVE: b"12\n", first: b"10\n", f"{first}.1": b"11\n"}


@pytest.mark.parametrize("ext_match", [None, "^x$", 5])
def test_an_ext_match_that_is_none_costs_no_record(
    log: Log, capsys: pytest.CaptureFixture[str], ext_match: Any
) -> None:
    handler = log.open(backupCount=1)
    handler.extMatch = ext_match
    (log.folder / "app.log.neighbour").write_bytes(b"")
    log.at_half_past("10", "11", "12")
    found = log.files()
    assert b"".join(found[name] for name in sorted(found, key=len, reverse=True)).endswith(b"11\n12\n")
    assert len(told(capsys)) <= 1


@pytest.mark.parametrize(
    "namer",
    [lambda _: 1 // 0, lambda _: None, lambda _: 5, lambda _: "a\0b", lambda _: ""],
    ids=["raises", "nothing", "a-number", "no-path", "empty"],
)
@both_modes
def test_a_namer_that_fails_is_reported_once_and_the_log_grows(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, namer: Any
) -> None:
    line = report_of_a_broken("namer", namer, log, capsys, locking=locking)
    assert line.startswith("cannot rotate: ")


def test_a_namer_that_chokes_on_a_neighbour_does_not_stop_the_upkeep(log: Log) -> None:
    """It is asked about all that looks like a date; only names that the handler gives are its business."""

    def namer(default: str) -> str:
        dt.datetime.strptime(default[-13:], "%Y-%m-%d_%H")  # noqa: DTZ007
        return default + ".log"

    (log.folder / "app.log.2021-99-99_99.log").write_bytes(b"not ours\n")
    handler = log.open(backupCount=1)
    handler.namer = namer
    log.at_half_past("10", "11", "12")
    assert log.files() == {
        LIVE: b"12\n",
        "app.log.2021-11-22_11.log": b"11\n",
        "app.log.2021-99-99_99.log": b"not ours\n",
    }


@both_modes
def test_a_rotator_that_fails_is_reported_once_and_the_log_grows(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    line = report_of_a_broken("rotator", lambda *_: 1 // 0, log, capsys, locking=locking)
    assert line.startswith("cannot rotate: rotator failed: ZeroDivisionError")


@both_modes
def test_an_on_rotate_that_fails_is_reported_once_and_stops_nothing(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    given: List[str] = []

    def on_rotate(path: str) -> None:
        given.append(Path(path).name)
        raise LookupError("no such bucket")

    log.open(locking=locking, on_rotate=on_rotate, backupCount=1)
    log.at_half_past("10", "11", "12")
    assert log.files() == {LIVE: b"12\n", "app.log.2021-11-22_11": b"11\n"}
    assert given == ["app.log.2021-11-22_10", "app.log.2021-11-22_11"]
    assert told(capsys) == ["on_rotate failed: no such bucket"]


@pytest.mark.parametrize("answer", [lambda: 1 // 0, lambda: 5, lambda: b"head"])
@both_modes
def test_a_header_that_fails_is_reported_once_and_left_out(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, answer: Callable[[], Any]
) -> None:
    log.open(locking=locking, header=answer)
    log.at_half_past("10", "11", "12")
    assert log.files() == {
        LIVE: b"12\n",
        "app.log.2021-11-22_10": b"10\n",
        "app.log.2021-11-22_11": b"11\n",
    }
    (line,) = told(capsys)
    assert line.startswith("header failed: ")


@both_modes
def test_a_link_that_cannot_be_made_is_reported_once_and_made_when_it_can_be(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    links = tmp_path / "links"
    log.open(locking=locking, current_link=links / "current.log")
    log.at_half_past("10", "11")
    assert log.files() == {LIVE: b"11\n", "app.log.2021-11-22_10": b"10\n"}
    (line,) = told(capsys)
    assert line.startswith("cannot make the link to the live file: ")
    links.mkdir()
    log.at("11:40", "12")
    assert (links / "current.log").read_bytes() == b"11\n12\n"
