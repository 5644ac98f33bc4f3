"""The boundary: kept in the lock file and in the page, one for all, and proof against bad times and clocks."""

import contextlib
import errno
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import pytest

from concurrent_log_handler._posix import Posix
from concurrent_log_handler.state import PAGE_SIZE, Page
from support.children import Children
from support.folder import LIVE, LOCK, PAGE
from support.timed import Handler, TimedLog, in_its_time, instant, told
from support.writers import WatchedTimedHandler, kill_myself

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


class Log(TimedLog):
    """A log whose file shows when it was written by the clock on its wall."""

    def log(self, handler: Handler, text: str) -> None:
        now = self.now
        super().log(handler, text)
        os.utime(self.live, (now, now))  # the kernel goes by the clock that jumps, too

    def plant(self, noted: bytes, text: str = "old", at: Optional[float] = None) -> None:
        """Leave a log and a lock file from an earlier run, of 0.9.x perhaps."""
        self.lock.write_bytes(noted)
        self.live.write_bytes(text.encode() + b"\n")
        os.utime(self.live, (at or self.now, at or self.now))

    def files(self) -> Dict[str, str]:
        """Return what is in the folder, the helpers left out, in words instead of lines."""
        found = {
            each.name: each.read_text("utf-8") for each in self.folder.iterdir() if each.suffix != ".state"
        }
        del found[LOCK]
        assert [text for text in found.values() if text and not text.endswith("\n")] == []
        return {name: text.replace("\n", " ").strip() for name, text in found.items()}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    yield from in_its_time(Log(tmp_path), monkeypatch, capsys)


@pytest.fixture
def _page_need_not_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who still has an older page, for half a second, is another process, and there is none."""
    monkeypatch.setattr(Page, "time_to_wait", lambda _: 0.0)


NOT_USABLE = "the rollover time in the lock file is not usable, a new one has been computed: "

# ------------------------------------------------------------------------------------ where it is, and how long


@both_modes
def test_the_time_stands_in_the_lock_file_in_decimal_and_in_the_page(log: Log, locking: str) -> None:
    handler = log.open(locking=locking)
    assert handler.rolloverAt == log.noted() == instant("11:00")
    log.at("10:30", "one")
    assert handler.rolloverAt == log.noted() == instant("11:00")
    log.at("11:10", "two")
    assert handler.rolloverAt == log.noted() == instant("12:10")


@pytest.mark.parametrize("form", ["%d", "%d\n", "%d\r\n", " %d ", "000%d"])
@pytest.mark.usefixtures("_page_need_not_age")
@both_modes
def test_a_lock_file_of_0_9_x_is_taken_over(log: Log, locking: str, form: str) -> None:
    log.plant(form.encode() % instant("10:45"))
    handler = log.open(locking=locking)
    assert handler.rolloverAt == instant("10:45")
    log.at("10:44", "one")
    log.at("10:45", "two")
    assert log.files() == {LIVE: "two", "app.log.2021-11-22_09": "old one"}
    assert handler.rolloverAt == log.noted() == instant("11:45")


@both_modes
def test_the_time_survives_restarts(log: Log, locking: str) -> None:
    for minute in range(0, 60, 10):
        handler = log.open(locking=locking)
        assert handler.rolloverAt == log.noted() == instant("11:00")
        log.at(f"10:{minute:02}", str(minute))
        log.end()
    log.now = instant("11:00")
    log.open(locking=locking)
    assert log.files() == {LIVE: "", "app.log.2021-11-22_10": "0 10 20 30 40 50"}
    assert log.noted() == instant("12:00")


@both_modes
def test_several_handlers_have_one_boundary_and_one_of_them_rotates(log: Log, locking: str) -> None:
    first = log.open(locking=locking)
    log.now = instant("10:20")
    second = log.open(locking=locking)
    log.now = instant("10:40")
    third = log.open(locking=locking)
    for hour in ("10", "11", "12"):
        for number, each in enumerate((second, third, first)):
            assert each.rolloverAt <= instant("13:00")
            log.at(f"{hour}:{50 + number}", f"{hour}-{number}", by=each)
    assert log.files() == {
        LIVE: "12-0 12-1 12-2",
        "app.log.2021-11-22_10": "10-0 10-1 10-2",
        "app.log.2021-11-22_11": "11-0 11-1 11-2",
    }
    assert [each.num_rollovers for each in (first, second, third)] == [0, 2, 0]
    assert {each.rolloverAt for each in (first, second, third)} == {instant("13:50")}


# ------------------------------------------------------------------------------------------ overdue at the start


@both_modes
@pytest.mark.parametrize("helpers", ["lock-and-page", "lock-of-0.9.x", "none"])
def test_an_overdue_one_rotates_at_the_start_and_is_named_for_when_it_was_written(
    log: Log, locking: str, helpers: str
) -> None:
    log.now = instant("10:00", "2021-11-19")
    log.open(when="MIDNIGHT", locking=locking)
    log.at("10:00", "old", day="2021-11-19")
    log.end()
    if helpers != "lock-and-page":
        log.page.unlink()
    if helpers == "none":
        log.lock.unlink()
    log.now = instant("10:00")
    handler = log.open(when="MIDNIGHT", locking=locking)
    assert log.files() == {LIVE: "", "app.log.2021-11-19": "old"}
    log.at("10:30", "new")
    assert log.files() == {LIVE: "new", "app.log.2021-11-19": "old"}
    assert handler.rolloverAt == log.noted() == instant("00:00", "2021-11-23")
    assert handler.num_rollovers == 1


@both_modes
def test_an_overdue_one_is_rotated_by_the_first_handler_only(log: Log, locking: str) -> None:
    log.open()
    log.at("10:30", "old")
    log.end()
    log.now = instant("15:30")
    handlers = [log.open(locking=locking) for _ in range(3)]
    log.at("15:40", "new", by=handlers[1])
    assert log.files() == {LIVE: "new", "app.log.2021-11-22_10": "old"}
    assert [each.num_rollovers for each in handlers] == [1, 0, 0]
    assert log.noted() == instant("16:30")


@both_modes
def test_an_overdue_one_whose_name_is_taken_gets_a_counter(log: Log, locking: str) -> None:
    log.now = instant("08:00")
    log.open(locking=locking)
    log.at("08:30", "old")
    log.end()
    (log.folder / "app.log.2021-11-22_08").write_bytes(b"first\n")
    log.now = instant("10:00")
    log.open(locking=locking)
    assert log.files() == {LIVE: "", "app.log.2021-11-22_08": "first", "app.log.2021-11-22_08.1": "old"}


# ------------------------------------------------------------------------------------------------ bad times

BAD: Dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "garbage": b"garbage",
    "negative": b"-1637578800",
    "signed": b"+1637578800",
    "float": b"1637578800.5",
    "hex": b"0x619b7db0",
    "zero": b"0",
    "before-2000": b"946684799",
    "far-ahead": b"%d" % (instant("10:00") + 366 * 24 * 3600),
    "three-periods-ahead": b"%d" % instant("13:30"),
    "64-digits": b"1" * 64,
    "100-digits": b"0" * 90 + b"1637578800",
    "5000-digits": b"9" * 5000,
    "binary": bytes(range(256)),
    "nulls": bytes(64),
    "two-lines": b"1637578800\n1637578800\n",
    "other-digits": "\N{FULLWIDTH DIGIT ONE}637578800".encode(),
}


@pytest.mark.parametrize("content", BAD)
@pytest.mark.usefixtures("_page_need_not_age")
@both_modes
def test_a_time_that_cannot_be_is_computed_anew_and_reported_once(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, content: str
) -> None:
    log.plant(BAD[content])
    handlers = [log.open(locking=locking) for _ in range(3)]
    assert {each.rolloverAt for each in handlers} == {log.noted()} == {instant("11:00")}
    for number, each in enumerate(handlers):
        log.at("10:30", str(number), by=each)
    log.at("11:00", "next")
    assert log.files() == {LIVE: "next", "app.log.2021-11-22_10": "old 0 1 2"}
    (line,) = told(capsys)
    assert line.startswith(NOT_USABLE)
    assert line.endswith(f" became {instant('11:00')}")


@pytest.mark.parametrize("content", BAD)
@both_modes
def test_one_that_comes_while_handlers_run_gives_way_to_the_page(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, content: str
) -> None:
    handlers = [log.open(locking=locking) for _ in range(2)]
    for number, each in enumerate(handlers):
        log.at("10:20", str(number), by=each)
    log.lock.write_bytes(BAD[content])
    for number, each in enumerate(handlers):
        log.at("10:59", str(number), by=each)
    for number, each in enumerate(handlers):
        log.at("11:00", str(number), by=each)
    assert log.files() == {LIVE: "0 1", "app.log.2021-11-22_10": "0 1 0 1"}
    assert log.noted() == instant("12:00")
    assert [line.startswith(NOT_USABLE) for line in told(capsys)] == [True]


@both_modes
def test_a_second_bad_time_is_reported_as_well(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    handler = log.open(locking=locking)
    for time_of_day in ("11:10", "12:20", "13:30"):
        log.lock.write_bytes(b"garbage")
        log.at(time_of_day, time_of_day)
    assert log.files() == {
        LIVE: "13:30",
        "app.log.2021-11-22_11": "11:10",
        "app.log.2021-11-22_12": "12:20",
    }
    assert handler.rolloverAt == log.noted()
    assert len(told(capsys)) == 3


class ReadOnlyLock:
    """A system on which the lock file of any log can be read and locked, but not written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_at = Posix.write_at
        monkeypatch.setattr(Posix, "write_at", self.refuse_lock_file)

    def refuse_lock_file(self, fd: int, data: bytes, offset: int) -> None:
        if os.fstat(fd).st_size < PAGE_SIZE:
            raise OSError(errno.EROFS, "read-only for the test")
        self.write_at(Posix(), fd, data, offset)


@both_modes
def test_a_lock_file_that_may_only_be_read_leaves_the_page(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, locking: str
) -> None:
    handler = log.open(locking=locking)
    peer = log.open(locking=locking)
    log.at("10:30", "one")
    ReadOnlyLock(monkeypatch)
    for hour in ("11", "12", "13"):
        for each in (handler, peer):
            log.at(f"{hour}:{'30' if each is handler else '40'}", f"{hour}", by=each)
    assert log.files() == {
        LIVE: "13 13",
        "app.log.2021-11-22_10": "one",
        "app.log.2021-11-22_11": "11 11",
        "app.log.2021-11-22_12": "12 12",
    }
    assert handler.rolloverAt == peer.rolloverAt == instant("14:30")
    lines = told(capsys)
    assert {line.split(":")[0] for line in lines} == {"cannot write the rollover time into the lock file"}
    assert len(lines) <= 2  # once for each handler


@pytest.mark.parametrize("deleted", [(LOCK,), (PAGE,), (LOCK, PAGE)], ids=["lock", "page", "both"])
@pytest.mark.usefixtures("_page_need_not_age")
@both_modes
def test_helpers_that_are_deleted_while_handlers_run_cost_no_record_and_no_rotation(
    log: Log, locking: str, deleted: List[str]
) -> None:
    handlers = [log.open(locking=locking) for _ in range(3)]
    times = ["10:20", "10:40", "11:00", "11:10", "12:20", "13:30", "13:31"]
    for time_of_day in times:
        if time_of_day == "10:40":
            for name in deleted:
                (log.folder / name).unlink()
        for number, each in enumerate(handlers):
            log.at(time_of_day, f"{time_of_day}/{number}", by=each)
    found = log.files()
    assert all_words(found) == [f"{time_of_day}/{number}" for time_of_day in times for number in range(3)]
    for text in found.values():
        written = [instant(word.split("/")[0]) for word in text.split()]
        assert max(written) - min(written) < 2 * 3600
    assert {each.rolloverAt for each in handlers} == {log.noted()}


@pytest.mark.parametrize("deleted", [LOCK, PAGE])
@pytest.mark.usefixtures("_page_need_not_age")
@both_modes
def test_one_helper_that_is_deleted_while_a_handler_runs_leaves_the_time_in_the_other(
    log: Log, locking: str, deleted: str
) -> None:
    handler = log.open(locking=locking)
    log.at("10:20", "one")
    (log.folder / deleted).unlink()
    log.at("10:40", "two")
    log.at("11:00", "three")  # which may find that there is no lock, and go to the old file
    log.at("11:00", "four")
    found = log.files()
    assert all_words(found) == ["four", "one", "three", "two"]
    assert (set(found), found[LIVE][-4:]) == ({LIVE, "app.log.2021-11-22_10"}, "four")
    assert handler.rolloverAt == log.noted() == instant("12:00")


@pytest.mark.parametrize("deleted", [LOCK, PAGE])
@pytest.mark.usefixtures("_page_need_not_age")
def test_one_helper_that_is_deleted_between_runs_leaves_the_time_in_the_other(log: Log, deleted: str) -> None:
    log.open()
    log.at("10:20", "one")
    log.end()
    (log.folder / deleted).unlink()
    log.now = instant("10:40")
    handler = log.open()
    assert handler.rolloverAt == log.noted() == instant("11:00")
    log.at("11:00", "two")
    assert log.files() == {LIVE: "two", "app.log.2021-11-22_10": "one"}


# ---------------------------------------------------------------------------------------------- clocks that jump


def quarters(first: str, last: str) -> List[str]:
    """Return the times of day from the first to the last, a quarter of an hour apart."""
    return [
        time.strftime("%H:%M", time.gmtime(each)) for each in range(instant(first), instant(last) + 1, 900)
    ]


def all_words(files: Dict[str, str]) -> List[str]:
    return sorted(word for text in files.values() for word in text.split())


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("back_to", ["10:15", "09:00", "06:00", "00:00"])
@both_modes
def test_a_clock_that_is_set_back_overwrites_nothing(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str, back_to: str, restarts: bool
) -> None:
    log.open(locking=locking)
    words = []
    for turn, first in enumerate(("10:00", back_to)):
        if turn and restarts:
            log.end()
            log.now = instant(first)
            log.open(locking=locking)
        for time_of_day in quarters(first, "12:30"):
            words.append(f"{turn}-{time_of_day}")
            log.at(time_of_day, words[-1])
    found = log.files()
    assert all_words(found) == sorted(words)
    for text in found.values():  # a file has records of an hour at most, but around the jump
        times = [instant(word[2:]) for word in text.split() if word.startswith("1-")]
        assert not times or max(times) - min(times) < 2 * 3600, text
    assert all(max(text.split()) == text.split()[-1] for text in found.values())
    assert len(told(capsys)) <= 1


@both_modes
def test_a_clock_that_is_set_back_by_hours_has_the_boundary_computed_anew(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    handlers = [log.open(locking=locking) for _ in range(2)]
    for time_of_day in ("10:30", "11:00", "11:30", "06:10", "07:09", "07:10", "08:10"):
        for number, each in enumerate(handlers):
            log.at(time_of_day, f"{time_of_day}/{number}", by=each)
    assert log.files() == {
        LIVE: "08:10/0 08:10/1",
        "app.log.2021-11-22_10": "10:30/0 10:30/1",
        "app.log.2021-11-22_06": "11:00/0 11:00/1 11:30/0 11:30/1 06:10/0 06:10/1 07:09/0 07:09/1",
        "app.log.2021-11-22_07": "07:10/0 07:10/1",
    }
    assert {each.rolloverAt for each in handlers} == {log.noted()} == {instant("09:10")}
    (line,) = told(capsys)
    assert line == f"{NOT_USABLE}'{instant('12:00')}' became {instant('07:10')}"


@pytest.mark.usefixtures("_page_need_not_age")
@both_modes
def test_the_same_hour_twice_collides_into_counters(log: Log, locking: str) -> None:
    for turn in "abc":
        for helper in (log.lock, log.page):
            with contextlib.suppress(FileNotFoundError):
                helper.unlink()
        log.now = instant("10:00")
        log.open(locking=locking)
        for hour in ("10:30", "11:00", "11:30"):
            log.at(hour, f"{turn}-{hour}")
        log.handlers[-1].doRollover()
        log.now = instant("12:00")
        log.handlers[-1].initialize_rollover_time()  # which finds nothing to rotate
        log.end()
    assert log.files() == {
        LIVE: "",
        "app.log.2021-11-22_10": "a-10:30",
        "app.log.2021-11-22_10.1": "b-10:30",
        "app.log.2021-11-22_10.2": "c-10:30",
        "app.log.2021-11-22_11": "a-11:00 a-11:30",
        "app.log.2021-11-22_11.1": "b-11:00 b-11:30",
        "app.log.2021-11-22_11.2": "c-11:00 c-11:30",
    }


@pytest.mark.parametrize("restarts", [False, True])
@both_modes
def test_a_clock_that_is_set_forward_by_days_rotates_once(log: Log, locking: str, restarts: bool) -> None:
    log.open(locking=locking)
    log.at("10:30", "one")
    if restarts:
        log.end()
        log.now = instant("15:20", "2021-11-29")
        log.open(locking=locking)
    handler = log.handlers[-1]
    for time_of_day in ("15:20", "15:50", "16:20"):
        log.at(time_of_day, time_of_day, day="2021-11-29")
    assert log.files() == {
        LIVE: "16:20",
        "app.log.2021-11-22_10": "one",
        "app.log.2021-11-29_15": "15:20 15:50",
    }
    assert handler.num_rollovers == 2
    assert handler.rolloverAt == log.noted() == instant("17:20", "2021-11-29")


@both_modes
def test_a_clock_that_was_days_ahead_for_a_while_costs_one_report(
    log: Log, capsys: pytest.CaptureFixture[str], locking: str
) -> None:
    log.open(locking=locking)
    log.at("10:10", "before")
    log.at("10:20", "ahead", day="2021-11-29")
    log.at("10:30", "back")
    log.at("11:30", "after")
    assert log.files() == {
        LIVE: "after",
        "app.log.2021-11-22_10": "before",
        "app.log.2021-11-22_10.1": "ahead back",
    }
    assert len(told(capsys)) == 1


@pytest.mark.parametrize("boot", [0.0, 0.5, 86_400.0 * 300])
@both_modes
def test_a_clock_that_is_not_set_at_boot_has_nothing_rotated_until_it_is(
    log: Log, locking: str, boot: float
) -> None:
    log.now = boot
    handler = log.open(locking=locking)
    peer = log.open(locking=locking)
    log.log_at(boot, "boot", by=handler)
    log.log_at(boot + 7200, "later", by=peer)
    assert log.files() == {LIVE: "boot later"}
    log.at("10:00", "set", by=handler)
    assert handler.rolloverAt == log.noted() == instant("11:00")
    log.at("10:59", "on", by=peer)
    log.at("11:00", "next", by=peer)
    assert log.files() == {LIVE: "next", "app.log.2021-11-22_10": "boot later set on"}


@both_modes
def test_at_boot_the_time_of_the_run_before_is_left_alone(log: Log, locking: str) -> None:
    log.now = instant("08:00")
    log.open(locking=locking)
    log.at("08:30", "old")
    log.end()
    log.now = 0.0
    handler = log.open(locking=locking)
    log.log_at(5.0, "boot")
    assert (log.noted(), log.files()) == (instant("09:00"), {LIVE: "old boot"})
    log.at("10:00", "set")
    assert log.files() == {LIVE: "set", "app.log.2021-11-22_08": "old boot"}
    assert handler.rolloverAt == log.noted() == instant("11:00")


@both_modes
def test_at_boot_the_size_still_rotates(log: Log, locking: str) -> None:
    log.now = 0.0
    log.open(locking=locking, maxBytes=2)
    log.log_at(5.0, "a", "b")
    log.at("10:00", "c", "d")
    found = log.files()
    assert found.pop(LIVE) == "d"
    assert sorted(found.values()) == ["a", "b", "c"]


# --------------------------------------------------------------------------------------- size, and empty files


@both_modes
def test_size_does_not_move_the_boundary(log: Log, locking: str) -> None:
    handler = log.open(locking=locking, maxBytes=4)
    log.at("10:10", "one", "two", "3", "4", "5")
    assert handler.rolloverAt == log.noted() == instant("11:00")
    log.at("11:00", "six", "seven")
    assert log.files() == {
        LIVE: "seven",
        "app.log.2021-11-22_10": "one",
        "app.log.2021-11-22_10.1": "two",
        "app.log.2021-11-22_10.2": "3 4",
        "app.log.2021-11-22_10.3": "5",
        "app.log.2021-11-22_11": "six",
    }
    assert handler.rolloverAt == log.noted() == instant("12:00")


@both_modes
def test_a_full_file_at_the_boundary_is_rotated_once(log: Log, locking: str) -> None:
    handler = log.open(locking=locking, maxBytes=4)
    log.at("10:10", "full")
    log.at("11:00", "next")
    assert log.files() == {LIVE: "next", "app.log.2021-11-22_10": "full"}
    assert (handler.num_rollovers, handler.rolloverAt) == (1, instant("12:00"))


@pytest.mark.parametrize("restarts", [False, True])
@both_modes
def test_an_empty_log_is_not_rotated_but_the_boundary_moves(log: Log, locking: str, restarts: bool) -> None:
    handler = log.open(locking=locking)
    log.at("10:10", "one")
    handler.doRollover()
    if restarts:
        log.end()
        log.now = instant("11:10")
        handler = log.open(locking=locking)
        assert handler.rolloverAt == log.noted() == instant("12:10")
    log.at("11:10", "two")
    assert log.files() == {LIVE: "two", "app.log.2021-11-22_10": "one"}
    assert handler.rolloverAt == log.noted() == instant("12:10")


@both_modes
def test_a_log_that_is_gone_at_the_boundary_is_made_anew_and_the_boundary_moves(
    log: Log, locking: str
) -> None:
    handler = log.open(locking=locking)
    log.at("10:10", "one")
    log.live.rename(log.folder / "moved-away")
    log.at("11:10", "two")
    assert log.files() == {LIVE: "two", "moved-away": "one"}
    assert handler.rolloverAt == log.noted() == instant("12:10")


# ------------------------------------------------------------------------------------------------ a dead rotator


def rotate_and_die(connection: Connection, path: Path) -> None:
    """When told the time, begin the rotation that is overdue then, and die when the log has lost its name."""
    now = connection.recv()
    interrupts = {"set_aside": kill_myself}
    WatchedTimedHandler(str(path), interrupts, lambda: now, utc=True, header="# head")


def test_upkeep_that_ends_the_rotation_of_a_dead_one_moves_the_boundary_with_it(
    log: Log, children: Children
) -> None:
    child = children.start(rotate_and_die, log.live)
    ends: List[int] = []

    def on_rotate(_: str) -> None:
        if not ends:
            log.now = instant("12:00")
            child.tell(log.now)
            ends.append(child.ended())

    handler = log.open(on_rotate=on_rotate, header="# head")
    log.at("10:30", "one")
    with contextlib.suppress(FileNotFoundError):  # from here on, it is noon
        log.at("11:00", "two")
    assert [end < 0 for end in ends] == [True]
    log.at("12:10", "three")
    assert log.files() == {
        LIVE: "# head three",
        "app.log.2021-11-22_10": "# head one",
        "app.log.2021-11-22_11": "# head two",
    }
    assert handler.rolloverAt == log.noted() == instant("13:00")
