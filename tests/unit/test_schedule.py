"""The rules of time: examples, properties in many zones, and what the standard library makes of them."""

import datetime as dt
import functools
import itertools
import os
import sys
import time
from logging.handlers import TimedRotatingFileHandler
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypeVar, cast
from unittest import mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from concurrent_log_handler.schedule import DAY, HOUR, MINUTE, SECOND, WEEK, Schedule
from support.children import Child, Children
from support.clock import instant_of

T = TypeVar("T")

LENGTHS = {"S": SECOND, "M": MINUTE, "H": HOUR, "D": DAY, "MIDNIGHT": DAY, "W": WEEK}
FIRST = int(dt.datetime(2010, 1, 1, tzinfo=dt.timezone.utc).timestamp())
LAST = int(dt.datetime(2036, 1, 1, tzinfo=dt.timezone.utc).timestamp())

ONE_HOUR_CHANGES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # midnight is left out, and 23 o'clock comes twice
    "America/Havana",  # midnight comes twice
    "America/St_Johns",  # until 2011, one minute past midnight the day before came back
    "Asia/Kolkata",
]
ZONES = [
    *ONE_HOUR_CHANGES,
    "Australia/Lord_Howe",  # half an hour
    "Europe/Moscow",  # another offset, without daylight saving time
    "Africa/Casablanca",  # daylight saving time in the winter, and not in Ramadan
    "Antarctica/Casey",  # three hours
    "Pacific/Apia",  # left out the 30th of December 2011
]
WEEKDAYS = ["W0", "W1", "W2", "W3", "W4", "W5", "W6"]

NOON = dt.time(12)
HALF_PAST_TWO = dt.time(2, 30)
AT_TIMES = [
    None,
    dt.time(),
    dt.time(0, 30),
    dt.time(1, 45),
    HALF_PAST_TWO,
    NOON,
    dt.time(23, 30),
]


def rule(when: str, count: int = 1, at_time: Optional[dt.time] = None, *, utc: bool = False) -> Schedule:
    return Schedule(when, count * LENGTHS["W" if when in WEEKDAYS else when], at_time, utc)


# ---------------------------------------------------------------------------- processes that live in other zones


class Zone:
    """A process whose wall clock shows the time of a zone, so that the clock of this one is left alone."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.changes: List[int] = self.ask(changes)
        self.is_utc = self.ask(offset, instant_of("2020-01-01 00:00+00:00")) == 0

    def ask(self, function: Callable[..., T], *args: Any) -> T:
        self._child.tell((function, args))
        answer, error = self._child.answer()
        if error is not None:
            raise error
        return cast("T", answer)

    def end(self) -> None:
        self._child.tell(None)
        self._child.ended()

    def next_after(self, schedule: Schedule, now: int) -> int:
        return self.ask(schedule.next_after, now)

    def start_of_period(self, schedule: Schedule, end: int) -> int:
        return self.ask(schedule.start_of_period, end)

    def wall_time(self, instant: int) -> dt.datetime:
        return self.ask(wall_time, instant)

    def rollover(self, schedule: Schedule, now: str) -> str:
        return self.ask(shown, self.next_after(schedule, instant_of(now)))

    def period(self, schedule: Schedule, end: str) -> str:
        return self.ask(shown, self.start_of_period(schedule, instant_of(end)))


def live_in(connection: Connection, zone: str) -> None:
    os.environ["TZ"] = zone
    time.tzset()
    for question in iter(connection.recv, None):
        connection.send(answered(*question))


def answered(function: Callable[..., Any], args: Tuple[Any, ...]) -> Tuple[Any, Optional[Exception]]:
    try:
        return function(*args), None
    except Exception as error:  # noqa: BLE001 - raised again by who asked
        return None, error


@pytest.fixture(scope="module")
def zones() -> Iterator[Callable[[str], Zone]]:
    children = Children()
    started: Dict[str, Zone] = {}

    def zone(name: str) -> Zone:
        if name not in started:
            started[name] = Zone(children.start(live_in, name))
        if started[name].is_utc and name != "UTC":
            pytest.skip(f"the time of {name} is not known to this system")
        return started[name]

    yield zone
    for each in started.values():  # so that they can tell what of our code they ran
        each.end()
    children.kill()


def offset(instant: int) -> int:
    return time.localtime(instant).tm_gmtoff


def wall_time(instant: int) -> dt.datetime:
    return dt.datetime(*time.localtime(instant)[:6])  # noqa: DTZ001 - as the wall shows it


def shown(instant: int) -> str:
    moment = dt.datetime.fromtimestamp(instant, dt.timezone.utc).astimezone()
    return moment.isoformat(" ", "seconds").replace(":00+", "+").replace(":00-", "-")


def changes() -> List[int]:
    """Return the instants at which the clocks are moved."""
    found = []
    for day in range(FIRST, LAST, DAY):
        before, after = day, day + DAY
        if offset(before) == offset(after):
            continue
        while after - before > 1:
            middle = (before + after) // 2
            if offset(middle) == offset(day):
                before = middle
            else:
                after = middle
        found.append(after)
    return found


@functools.lru_cache(maxsize=None)
def instants_of(wall: dt.datetime) -> List[int]:
    """Return when the clock shows a time: once; or twice, when it is put back; or never, when it is put on."""
    as_utc = int(wall.replace(tzinfo=dt.timezone.utc).timestamp())
    offsets = {offset(as_utc + shift) for shift in range(-2 * DAY, 2 * DAY + 1, 6 * HOUR)}
    return [each for each in sorted(as_utc - each for each in offsets) if wall_time(each) == wall]


def instant_for_left_out(wall: dt.datetime) -> int:
    """Return the instant that is as much later as the clock is put on: what a clock not put on would show."""
    as_utc = int(wall.replace(tzinfo=dt.timezone.utc).timestamp())
    return as_utc - min(offset(as_utc - 2 * DAY), offset(as_utc + 2 * DAY))


def wanted(schedule: Schedule, now: int) -> dt.datetime:
    """Return the wall time of the next rollover, found by looking at one day after the other."""
    here = wall_time(now)
    count = schedule.interval // LENGTHS["W" if schedule.when in WEEKDAYS else schedule.when]
    for days in itertools.count():
        day = here.date() + dt.timedelta(days)
        wall = dt.datetime.combine(day, schedule.at_time or dt.time())
        if schedule.at_time is None:
            wall += dt.timedelta(days=1)
        if wall > here and schedule.when in {"MIDNIGHT", f"W{day.weekday()}"}:
            count -= 1
            if count == 0:
                return wall
    raise AssertionError


def modelled(schedule: Schedule, now: int) -> int:
    wall = wanted(schedule, now)
    shows = instants_of(wall)
    return next(each for each in shows if each > now) if shows else instant_for_left_out(wall)


# ------------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize(
    ("when", "count", "rollover"),
    [
        ("S", 1, "2026-11-22 10:00:01+01:00"),
        ("S", 90, "2026-11-22 10:01:30+01:00"),
        ("M", 1, "2026-11-22 10:01+01:00"),
        ("M", 45, "2026-11-22 10:45+01:00"),
        ("H", 1, "2026-11-22 11:00+01:00"),
        ("H", 36, "2026-11-23 22:00+01:00"),
        ("D", 1, "2026-11-23 10:00+01:00"),
        ("D", 30, "2026-12-22 10:00+01:00"),
    ],
)
def test_an_interval_runs_from_now(
    zones: Callable[[str], Zone], when: str, count: int, rollover: str
) -> None:
    berlin = zones("Europe/Berlin")
    now = "2026-11-22 10:00+01:00"
    assert berlin.rollover(rule(when, count), now) == rollover
    assert berlin.period(rule(when, count), rollover) == now


@pytest.mark.parametrize(
    ("when", "count", "now", "rollover"),
    [
        ("D", 1, "2025-03-29 12:00+01:00", "2025-03-30 13:00+02:00"),
        ("D", 1, "2025-10-25 12:00+02:00", "2025-10-26 11:00+01:00"),
        ("H", 1, "2025-03-30 01:30+01:00", "2025-03-30 03:30+02:00"),
        ("H", 1, "2025-10-26 02:30+02:00", "2025-10-26 02:30+01:00"),
        ("M", 30, "2025-10-26 02:45+02:00", "2025-10-26 02:15+01:00"),
    ],
)
def test_an_interval_takes_no_notice_of_the_wall_clock(
    zones: Callable[[str], Zone], when: str, count: int, now: str, rollover: str
) -> None:
    berlin = zones("Europe/Berlin")
    assert berlin.rollover(rule(when, count), now) == rollover
    assert berlin.period(rule(when, count), rollover) == now


@pytest.mark.parametrize(
    ("at_time", "now", "rollover"),
    [
        (None, "2026-11-22 10:00+01:00", "2026-11-23 00:00+01:00"),
        (None, "2026-11-22 23:59:59+01:00", "2026-11-23 00:00+01:00"),
        (None, "2026-11-23 00:00+01:00", "2026-11-24 00:00+01:00"),
        (None, "2026-12-31 10:00+01:00", "2027-01-01 00:00+01:00"),
        (dt.time(), "2026-11-22 10:00+01:00", "2026-11-23 00:00+01:00"),
        (dt.time(), "2026-11-23 00:00+01:00", "2026-11-24 00:00+01:00"),
        (NOON, "2026-11-22 11:59:59+01:00", "2026-11-22 12:00+01:00"),
        (NOON, "2026-11-22 12:00+01:00", "2026-11-23 12:00+01:00"),
        (NOON, "2026-11-22 12:00:01+01:00", "2026-11-23 12:00+01:00"),
        (dt.time(23, 59, 59), "2024-02-28 23:59:59+01:00", "2024-02-29 23:59:59+01:00"),
    ],
)
def test_midnight_is_once_a_day(
    zones: Callable[[str], Zone], at_time: Optional[dt.time], now: str, rollover: str
) -> None:
    assert zones("Europe/Berlin").rollover(rule("MIDNIGHT", 1, at_time), now) == rollover


@pytest.mark.parametrize(
    ("when", "at_time", "rollover"),
    [
        ("W6", None, "2026-11-23 00:00+01:00"),
        ("W0", None, "2026-11-24 00:00+01:00"),
        ("W1", None, "2026-11-25 00:00+01:00"),
        ("W2", None, "2026-11-26 00:00+01:00"),
        ("W3", None, "2026-11-27 00:00+01:00"),
        ("W4", None, "2026-11-28 00:00+01:00"),
        ("W5", None, "2026-11-29 00:00+01:00"),
        ("W6", dt.time(10, 0, 1), "2026-11-22 10:00:01+01:00"),
        ("W6", dt.time(10), "2026-11-29 10:00+01:00"),
        ("W6", dt.time(), "2026-11-29 00:00+01:00"),
        ("W0", dt.time(), "2026-11-23 00:00+01:00"),
        ("W5", NOON, "2026-11-28 12:00+01:00"),
    ],
)
def test_a_weekday_is_once_a_week(
    zones: Callable[[str], Zone], when: str, at_time: Optional[dt.time], rollover: str
) -> None:
    a_sunday = "2026-11-22 10:00+01:00"
    assert zones("Europe/Berlin").rollover(rule(when, 1, at_time), a_sunday) == rollover


@pytest.mark.parametrize(
    ("when", "count", "at_time", "rollover", "start"),
    [
        ("MIDNIGHT", 3, None, "2026-11-25 00:00+01:00", "2026-11-22 00:00+01:00"),
        ("MIDNIGHT", 3, NOON, "2026-11-24 12:00+01:00", "2026-11-21 12:00+01:00"),
        ("MIDNIGHT", 3, dt.time(10), "2026-11-25 10:00+01:00", "2026-11-22 10:00+01:00"),
        ("W6", 2, None, "2026-11-30 00:00+01:00", "2026-11-16 00:00+01:00"),
        ("W6", 2, NOON, "2026-11-29 12:00+01:00", "2026-11-15 12:00+01:00"),
        ("W6", 2, dt.time(10), "2026-12-06 10:00+01:00", "2026-11-22 10:00+01:00"),
        ("W0", 4, None, "2026-12-15 00:00+01:00", "2026-11-17 00:00+01:00"),
    ],
)
def test_a_longer_interval_ends_so_many_days_or_weeks_later(
    zones: Callable[[str], Zone],
    when: str,
    count: int,
    at_time: Optional[dt.time],
    rollover: str,
    start: str,
) -> None:
    berlin, schedule = zones("Europe/Berlin"), rule(when, count, at_time)
    assert berlin.rollover(schedule, "2026-11-22 10:00+01:00") == rollover
    assert berlin.period(schedule, rollover) == start


@pytest.mark.parametrize(
    ("when", "at_time", "now", "rollover"),
    [
        ("MIDNIGHT", None, "2026-07-22 00:30+02:00", "2026-07-22 02:00+02:00"),
        ("MIDNIGHT", NOON, "2026-07-22 13:00+02:00", "2026-07-22 14:00+02:00"),
        ("MIDNIGHT", HALF_PAST_TWO, "2025-03-30 01:30+01:00", "2025-03-30 04:30+02:00"),
        ("W2", None, "2026-07-22 00:30+02:00", "2026-07-23 02:00+02:00"),
    ],
)
def test_by_utc_nothing_depends_on_the_zone(
    zones: Callable[[str], Zone], when: str, at_time: Optional[dt.time], now: str, rollover: str
) -> None:
    schedule = rule(when, 1, at_time, utc=True)
    berlin = zones("Europe/Berlin")
    assert berlin.rollover(schedule, now) == rollover
    assert instant_of(berlin.period(schedule, rollover)) == instant_of(rollover) - schedule.interval


@pytest.mark.parametrize(
    ("zone", "at_time", "now", "rollover"),
    [
        ("Europe/Berlin", None, "2025-03-29 12:00+01:00", "2025-03-30 00:00+01:00"),
        ("Europe/Berlin", None, "2025-03-30 00:00+01:00", "2025-03-31 00:00+02:00"),
        ("Europe/Berlin", NOON, "2025-03-29 12:00+01:00", "2025-03-30 12:00+02:00"),
        ("America/New_York", None, "2025-03-09 00:00-05:00", "2025-03-10 00:00-04:00"),
        ("Australia/Lord_Howe", None, "2025-10-05 00:00+10:30", "2025-10-06 00:00+11:00"),
        ("Europe/Moscow", None, "2011-03-27 00:00+03:00", "2011-03-28 00:00+04:00"),
        ("Africa/Casablanca", None, "2022-05-08 00:00+00:00", "2022-05-09 00:00+01:00"),
    ],
)
def test_wall_time_is_kept_when_clocks_are_put_on(
    zones: Callable[[str], Zone], zone: str, at_time: Optional[dt.time], now: str, rollover: str
) -> None:
    assert zones(zone).rollover(rule("MIDNIGHT", 1, at_time), now) == rollover


@pytest.mark.parametrize(
    ("zone", "at_time", "now", "rollover"),
    [
        ("Europe/Berlin", None, "2025-10-26 00:00+02:00", "2025-10-27 00:00+01:00"),
        ("Europe/Berlin", NOON, "2025-10-25 12:00+02:00", "2025-10-26 12:00+01:00"),
        ("America/New_York", None, "2025-11-02 00:00-04:00", "2025-11-03 00:00-05:00"),
        ("America/Sao_Paulo", None, "2018-02-17 12:00-02:00", "2018-02-18 00:00-03:00"),
        ("America/Sao_Paulo", None, "2018-02-17 23:30-03:00", "2018-02-18 00:00-03:00"),
        ("Australia/Lord_Howe", None, "2025-04-06 00:00+11:00", "2025-04-07 00:00+10:30"),
        ("Europe/Moscow", None, "2014-10-26 00:00+04:00", "2014-10-27 00:00+03:00"),
        ("Africa/Casablanca", None, "2022-03-27 00:00+01:00", "2022-03-28 00:00+00:00"),
    ],
)
def test_wall_time_is_kept_when_clocks_are_put_back(
    zones: Callable[[str], Zone], zone: str, at_time: Optional[dt.time], now: str, rollover: str
) -> None:
    assert zones(zone).rollover(rule("MIDNIGHT", 1, at_time), now) == rollover


@pytest.mark.parametrize(
    ("zone", "when", "at_time", "now", "rollover"),
    [
        ("Europe/Berlin", "MIDNIGHT", HALF_PAST_TWO, "2025-03-29 12:00+01:00", "2025-03-30 03:30+02:00"),
        ("Europe/Berlin", "W6", HALF_PAST_TWO, "2025-03-29 12:00+01:00", "2025-03-30 03:30+02:00"),
        ("America/Sao_Paulo", "MIDNIGHT", None, "2018-11-03 12:00-03:00", "2018-11-04 01:00-02:00"),
        ("America/Sao_Paulo", "W5", None, "2018-11-03 12:00-03:00", "2018-11-04 01:00-02:00"),
        (
            "Australia/Lord_Howe",
            "MIDNIGHT",
            dt.time(2, 15),
            "2025-10-04 12:00+10:30",
            "2025-10-05 02:45+11:00",
        ),
        ("Pacific/Apia", "MIDNIGHT", None, "2011-12-29 12:00-10:00", "2011-12-31 00:00+14:00"),
        ("Pacific/Apia", "MIDNIGHT", NOON, "2011-12-29 12:00-10:00", "2011-12-31 12:00+14:00"),
        ("Pacific/Apia", "W4", NOON, "2011-12-29 12:00-10:00", "2011-12-31 12:00+14:00"),
    ],
)
def test_what_is_left_out_comes_as_much_later(
    zones: Callable[[str], Zone],
    zone: str,
    when: str,
    at_time: Optional[dt.time],
    now: str,
    rollover: str,
) -> None:
    assert zones(zone).rollover(rule(when, 1, at_time), now) == rollover


@pytest.mark.parametrize(
    ("zone", "at_time", "now", "rollover"),
    [
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-25 12:00+02:00", "2025-10-26 02:30+02:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-26 02:10+02:00", "2025-10-26 02:30+02:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-26 02:30+02:00", "2025-10-27 02:30+01:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-26 02:50+02:00", "2025-10-27 02:30+01:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-26 02:10+01:00", "2025-10-26 02:30+01:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-26 02:30+01:00", "2025-10-27 02:30+01:00"),
        ("America/Havana", None, "2025-11-01 12:00-04:00", "2025-11-02 00:00-04:00"),
        ("America/Havana", None, "2025-11-02 00:00-04:00", "2025-11-03 00:00-05:00"),
        ("America/Havana", None, "2025-11-02 00:00-05:00", "2025-11-03 00:00-05:00"),
        ("America/Havana", dt.time(), "2025-11-02 00:30-04:00", "2025-11-03 00:00-05:00"),
        (
            "Australia/Lord_Howe",
            dt.time(1, 45),
            "2025-04-06 01:00+11:00",
            "2025-04-06 01:45+11:00",
        ),
        (
            "Australia/Lord_Howe",
            dt.time(1, 45),
            "2025-04-06 01:30+10:30",
            "2025-04-06 01:45+10:30",
        ),
    ],
)
def test_what_comes_twice_is_waited_for_once(
    zones: Callable[[str], Zone], zone: str, at_time: Optional[dt.time], now: str, rollover: str
) -> None:
    assert zones(zone).rollover(rule("MIDNIGHT", 1, at_time), now) == rollover


@pytest.mark.parametrize(
    ("zone", "when", "now", "rollover"),
    [
        ("America/St_Johns", "MIDNIGHT", "2010-11-06 12:00-02:30", "2010-11-07 00:00-02:30"),
        ("America/St_Johns", "MIDNIGHT", "2010-11-06 23:30-03:30", "2010-11-07 00:00-03:30"),
        ("America/St_Johns", "W5", "2010-11-06 23:30-03:30", "2010-11-07 00:00-03:30"),
        ("Antarctica/Casey", "MIDNIGHT", "2010-03-04 23:30+08:00", "2010-03-05 00:00+08:00"),
    ],
)
def test_a_day_that_comes_back_ends_once_more(
    zones: Callable[[str], Zone], zone: str, when: str, now: str, rollover: str
) -> None:
    assert zones(zone).rollover(rule(when), now) == rollover


@pytest.mark.parametrize(
    "at_time",
    [
        dt.time(2, 30, 0, 999_999),
        dt.time(2, 30, tzinfo=dt.timezone.utc),
        dt.time(2, 30, fold=1),
    ],
)
def test_only_what_the_clock_shows_is_taken_from_at_time(
    zones: Callable[[str], Zone], at_time: dt.time
) -> None:
    berlin = zones("Europe/Berlin")
    nows = [
        "2026-11-22 02:29:59+01:00",
        "2026-11-22 02:30+01:00",
        "2025-03-29 12:00+01:00",
        "2025-10-25 12:00+02:00",
    ]
    assert [berlin.rollover(rule("MIDNIGHT", 1, at_time), now) for now in nows] == [
        berlin.rollover(rule("MIDNIGHT", 1, HALF_PAST_TWO), now) for now in nows
    ]


@pytest.mark.parametrize("schedule", [rule("S"), rule("H", 2), rule("MIDNIGHT", utc=True)])
def test_a_fraction_of_a_second_changes_nothing(schedule: Schedule) -> None:
    now = instant_of("2026-11-22 23:59:59+00:00")
    assert schedule.next_after(now + 0.999) == schedule.next_after(now)


@pytest.mark.parametrize(
    ("zone", "at_time", "end", "start"),
    [
        ("Europe/Berlin", None, "2025-03-31 00:00+02:00", "2025-03-30 00:00+01:00"),
        ("Europe/Berlin", None, "2025-10-27 00:00+01:00", "2025-10-26 00:00+02:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-10-27 02:30+01:00", "2025-10-26 02:30+02:00"),
        # It began when half past two would have been:
        ("Europe/Berlin", HALF_PAST_TWO, "2025-03-31 02:30+02:00", "2025-03-30 03:30+02:00"),
        ("Europe/Berlin", HALF_PAST_TWO, "2025-03-30 03:30+02:00", "2025-03-29 02:30+01:00"),
        ("America/Sao_Paulo", None, "2018-11-04 01:00-02:00", "2018-11-03 00:00-03:00"),
        ("America/Sao_Paulo", None, "2018-11-05 00:00-02:00", "2018-11-04 01:00-02:00"),
        ("Pacific/Apia", None, "2011-12-31 00:00+14:00", "2011-12-29 00:00-10:00"),
    ],
)
def test_a_period_began_with_the_rollover_before(
    zones: Callable[[str], Zone], zone: str, at_time: Optional[dt.time], end: str, start: str
) -> None:
    assert zones(zone).period(rule("MIDNIGHT", 1, at_time), end) == start


def test_the_hour_that_comes_twice_gives_two_periods_one_name(zones: Callable[[str], Zone]) -> None:
    berlin, schedule = zones("Europe/Berlin"), rule("H")
    first = instant_of("2025-10-26 02:00+02:00")
    starts = [berlin.start_of_period(schedule, first + hours * HOUR) for hours in range(4)]
    assert [berlin.wall_time(each).hour for each in starts] == [1, 2, 2, 3]


# ---------------------------------------------------------------------------------------------------- properties

at_times = st.one_of(
    st.sampled_from(AT_TIMES), st.times().map(lambda at_time: at_time.replace(microsecond=0))
)
by_wall_clock = st.builds(
    rule, st.sampled_from(["MIDNIGHT", *WEEKDAYS]), st.integers(min_value=1, max_value=3), at_times
)


@st.composite
def instants(draw: st.DrawFn, zone: Zone) -> int:
    """Draw any instant, or one that is near to a change of the clocks."""
    near = draw(st.booleans())
    if near and zone.changes:
        return draw(st.sampled_from(zone.changes)) + draw(st.integers(-8 * DAY, DAY))
    return draw(st.integers(FIRST, LAST))


def around_changes(zone: Zone) -> List[int]:
    """Return instants of all years, most of them near to a change of the clocks."""
    shifts = {*range(-3 * HOUR, 3 * HOUR, 15 * MINUTE), *range(-8 * DAY, DAY, 7 * HOUR)}
    near = [change + shift for change in zone.changes for shift in sorted(shifts)]
    return [*range(FIRST, LAST, 9 * DAY + 12_345), *near]


def some(schedules: List[Schedule], nows: List[int], step: int) -> Iterator[Tuple[Schedule, int]]:
    """Yield some of all pairs; with a prime step, every schedule meets all kinds of instants."""
    return itertools.islice(itertools.product(schedules, nows), 0, None, step)


ALL_WALL_CLOCK = [
    rule(when, count, at_time)
    for when, count, at_time in itertools.product(["MIDNIGHT", "W0", "W5", "W6"], (1, 3), AT_TIMES)
]
in_all_zones = pytest.mark.parametrize("zone", ZONES)
often = settings(max_examples=150, deadline=None)


@given(data=st.data(), schedule=by_wall_clock, zone=st.sampled_from(ZONES))
@often
def test_a_rollover_is_in_the_future(
    zones: Callable[[str], Zone], data: st.DataObject, schedule: Schedule, zone: str
) -> None:
    now = data.draw(instants(zones(zone)))
    assert zones(zone).next_after(schedule, now) > now


@given(data=st.data(), schedule=by_wall_clock, zone=st.sampled_from(ZONES))
@often
def test_the_wall_clock_shows_the_time_and_the_day_that_are_wanted(
    zones: Callable[[str], Zone], data: st.DataObject, schedule: Schedule, zone: str
) -> None:
    now = data.draw(instants(zones(zone)))
    wall = zones(zone).wall_time(zones(zone).next_after(schedule, now))
    expected = zones(zone).ask(wanted, schedule, now)
    if zones(zone).ask(instants_of, expected):
        assert (wall, wall.time()) == (expected, schedule.at_time or dt.time())
        day = wall - dt.timedelta(days=schedule.at_time is None)
        assert schedule.when in {"MIDNIGHT", f"W{day.weekday()}"}
    else:
        assert wall > expected


@given(data=st.data(), schedule=by_wall_clock, zone=st.sampled_from(ZONES))
@often
def test_no_earlier_instant_would_do(
    zones: Callable[[str], Zone], data: st.DataObject, schedule: Schedule, zone: str
) -> None:
    now = data.draw(instants(zones(zone)))
    assert zones(zone).next_after(schedule, now) == zones(zone).ask(modelled, schedule, now)


def unlike_modelled(nows: List[int]) -> List[Tuple[Schedule, str, str, str]]:
    return [
        (schedule, shown(now), shown(schedule.next_after(now)), shown(modelled(schedule, now)))
        for schedule, now in some(ALL_WALL_CLOCK, nows, 17)
        if schedule.next_after(now) != modelled(schedule, now)
    ]


@in_all_zones
def test_nor_would_it_around_the_changes_of_26_years(zones: Callable[[str], Zone], zone: str) -> None:
    assert zones(zone).ask(unlike_modelled, around_changes(zones(zone))) == []


def test_a_week_whose_last_day_was_left_out_began_on_that_day_of_the_week(
    zones: Callable[[str], Zone],
) -> None:
    friday = Schedule("W4", 7 * DAY, dt.time(0, 30))
    zone = zones("Pacific/Apia")
    end = zone.next_after(friday, 1_324_722_599)  # on the 24th of December 2011; there was no 30th
    assert shown(zone.start_of_period(friday, end)) == shown(1_324_636_200)


@given(data=st.data(), schedule=by_wall_clock, zone=st.sampled_from(ZONES))
@often
def test_now_is_in_the_period_that_ends_next(
    zones: Callable[[str], Zone], data: st.DataObject, schedule: Schedule, zone: str
) -> None:
    now = data.draw(instants(zones(zone)))
    # Who comes when the wall clock is past the time does not wait for it, though it was left out and comes later.
    assume(not any(now - DAY < change <= now for change in zones(zone).changes))
    end = zones(zone).next_after(schedule, now)
    assert zones(zone).start_of_period(schedule, end) <= now


@given(
    when=st.sampled_from(["S", "M", "H", "D"]),
    count=st.integers(min_value=1, max_value=10_000),
    now=st.integers(FIRST, LAST),
)
def test_now_is_the_start_of_an_interval(when: str, count: int, now: int) -> None:
    schedule = rule(when, count)
    assert schedule.start_of_period(schedule.next_after(now)) == now
    assert schedule.next_after(now) == now + schedule.interval


@given(schedule=by_wall_clock, now=st.integers(FIRST, LAST))
def test_by_utc_every_period_is_of_the_same_length(schedule: Schedule, now: int) -> None:
    schedule = schedule._replace(utc=True)
    end = schedule.next_after(now)
    start = schedule.start_of_period(end)
    assert (end - start, start <= now < end) == (schedule.interval, True)
    assert schedule.next_after(end) == end + schedule.interval


@functools.lru_cache(maxsize=None)
def rollovers(schedule: Schedule) -> List[int]:
    found = [schedule.next_after(FIRST)]
    while found[-1] < LAST:
        found.append(schedule.next_after(found[-1]))
    return found


def dates_of_rollovers(schedule: Schedule) -> List[dt.date]:
    return [wall_time(each).date() for each in rollovers(schedule)]


def dates_of_all_hours(schedule: Schedule) -> List[dt.date]:
    found = rollovers(schedule)
    return sorted({wall_time(each).date() for each in [*range(found[0], found[-1], 12 * HOUR), found[-1]]})


@in_all_zones
@pytest.mark.parametrize("at_time", [None, HALF_PAST_TWO])
def test_every_date_of_26_years_has_one_rollover(
    zones: Callable[[str], Zone], zone: str, at_time: Optional[dt.time]
) -> None:
    dates = zones(zone).ask(dates_of_rollovers, rule("MIDNIGHT", 1, at_time))
    assert len(dates) > 9_000
    assert dates == zones(zone).ask(dates_of_all_hours, rule("MIDNIGHT", 1, at_time))


def wrong_starts(schedule: Schedule) -> List[Tuple[str, str, str]]:
    ends = rollovers(schedule)
    periods = ((start, end, schedule.start_of_period(end)) for start, end in zip(ends, ends[1:]))
    return [(shown(end), shown(start), shown(ours)) for start, end, ours in periods if ours != start]


@in_all_zones
@pytest.mark.parametrize(
    ("when", "at_time"),
    [("MIDNIGHT", None), ("MIDNIGHT", HALF_PAST_TWO), ("W5", None), ("W6", HALF_PAST_TWO)],
)
def test_every_period_of_26_years_began_with_a_rollover(
    zones: Callable[[str], Zone], zone: str, when: str, at_time: Optional[dt.time]
) -> None:
    assert zones(zone).ask(wrong_starts, rule(when, 1, at_time)) == []


# ------------------------------------------------------------------------------------------ the standard library


class Standard(TimedRotatingFileHandler):
    """The rules of this Python's standard library."""

    def __init__(self, schedule: Schedule) -> None:  # super() would open a file
        self.when = schedule.when
        self.interval = schedule.interval
        self.atTime = schedule.at_time
        self.utc = schedule.utc
        self.dayOfWeek = int(schedule.when[1]) if schedule.when in WEEKDAYS else 0
        self.baseFilename = "no such folder/app.log"
        self.suffix = "%Y-%m-%d_%H"
        self.namer = None
        self.stream = None
        self.delay = True
        self.backupCount = 0
        self.renamed: List[str] = []

    def rotate(self, source: str, dest: str) -> None:
        self.renamed.append(dest[len(source) + 1 :])


class Rotation(NamedTuple):
    name: str
    rollover: str


def standard_next_after(schedule: Schedule, now: int) -> int:
    return int(Standard(schedule).computeRollover(now))


def standard_rotation(schedule: Schedule, end: int) -> Rotation:
    """Have the standard library rotate, in time, what ends at an instant."""
    handler = Standard(schedule)
    handler.rolloverAt = end
    with mock.patch("time.time", return_value=float(end)):
        handler.doRollover()
    return Rotation(handler.renamed[0], shown(handler.rolloverAt))


def rotation(schedule: Schedule, end: int) -> Rotation:
    start = time.localtime(schedule.start_of_period(end))
    return Rotation(time.strftime("%Y-%m-%d_%H", start), shown(schedule.next_after(end)))


A_MINUTE_PAST = instant_of("2026-11-22 12:01+00:00")
# Mended in 3.13, and given on to 3.12.3 and 3.11.9 (gh-88352):
KNOWS_CHANGES = standard_next_after(rule("MIDNIGHT", 1, NOON, utc=True), A_MINUTE_PAST - MINUTE) == (
    A_MINUTE_PAST - MINUTE + DAY
)
# Added in 3.13 (gh-90535):
KNOWS_INTERVALS = standard_next_after(rule("MIDNIGHT", 2, NOON, utc=True), A_MINUTE_PAST) == (
    A_MINUTE_PAST - MINUTE + 2 * DAY
)


def is_right(schedule: Schedule, now: int, rollover: int) -> bool:
    """Tell whether this Python's standard library is right about the next rollover."""
    if schedule.when in LENGTHS and schedule.when != "MIDNIGHT":
        return True
    if schedule.interval > LENGTHS["W" if schedule.when in WEEKDAYS else schedule.when]:
        return KNOWS_INTERVALS
    here = dt.datetime(*time.gmtime(now)[:6]) if schedule.utc else wall_time(now)  # noqa: DTZ001
    changes_between = not schedule.utc and offset(now) != offset(rollover)
    return KNOWS_CHANGES or (here.time() != schedule.at_time and not changes_between)


def compared(nows: List[int]) -> Tuple[int, List[Tuple[Schedule, str, str, str]]]:
    """Return how often the standard library is right, and where ours differs from it then."""
    schedules = [*(rule(when, count) for when in "SMHD" for count in (1, 2)), *ALL_WALL_CLOCK]
    schedules += [schedule._replace(utc=True) for schedule in ALL_WALL_CLOCK[::5]]
    right, different = 0, []
    for schedule, now in some(schedules, nows, 7):
        ours, theirs = schedule.next_after(now), standard_next_after(schedule, now)
        if is_right(schedule, now, ours):
            right += 1
            if ours != theirs:
                different.append((schedule, shown(now), shown(ours), shown(theirs)))
    return right, different


@pytest.mark.parametrize("zone", ONE_HOUR_CHANGES)
def test_a_rollover_is_where_the_standard_library_has_it(zones: Callable[[str], Zone], zone: str) -> None:
    right, different = zones(zone).ask(compared, around_changes(zones(zone)))
    assert different == []
    assert right > 1_000


def test_the_standard_library_knows_all_rules_since_3_13() -> None:
    assert (KNOWS_CHANGES, KNOWS_INTERVALS) == (True, True) or sys.version_info < (3, 13)


@pytest.mark.parametrize(
    ("schedule", "rollover", "theirs"),
    [
        (rule("MIDNIGHT", 3, utc=True), "2026-11-25 00:00+00:00", "2026-11-23 00:00+00:00"),
        (rule("W6", 2, utc=True), "2026-11-30 00:00+00:00", "2026-11-23 00:00+00:00"),
    ],
)
def test_differs_before_3_13_longer_intervals_are_not_forgotten(
    schedule: Schedule, rollover: str, theirs: str
) -> None:
    now = instant_of("2026-11-22 10:00+00:00")
    assert schedule.next_after(now) == instant_of(rollover)
    assert standard_next_after(schedule, now) == instant_of(rollover if KNOWS_INTERVALS else theirs)


@pytest.mark.parametrize("when", ["MIDNIGHT", "W6"])
def test_differs_before_3_13_the_next_rollover_is_never_now(when: str) -> None:
    schedule, now = rule(when, 1, NOON, utc=True), instant_of("2026-11-22 12:00+00:00")
    assert schedule.next_after(now) == now + schedule.interval
    assert standard_next_after(schedule, now) == (now + schedule.interval if KNOWS_CHANGES else now)


@pytest.mark.parametrize(
    ("zone", "now", "rollover"),
    [
        ("Australia/Lord_Howe", "2025-04-06 00:30+11:00", "2025-04-07 00:00+10:30"),
        ("Australia/Lord_Howe", "2025-10-05 00:30+10:30", "2025-10-06 00:00+11:00"),
        ("Europe/Moscow", "2011-03-27 00:30+03:00", "2011-03-28 00:00+04:00"),
        ("Europe/Moscow", "2014-10-26 00:30+04:00", "2014-10-27 00:00+03:00"),
        ("Africa/Casablanca", "2022-05-08 00:30+00:00", "2022-05-09 00:00+01:00"),
    ],
)
def test_differs_wall_time_is_kept_whatever_the_change(
    zones: Callable[[str], Zone], zone: str, now: str, rollover: str
) -> None:
    assert zones(zone).rollover(rule("MIDNIGHT"), now) == rollover
    theirs = zones(zone).ask(standard_next_after, rule("MIDNIGHT"), instant_of(now))
    assert theirs != instant_of(rollover)


def test_differs_before_3_13_what_is_left_out_comes_later(zones: Callable[[str], Zone]) -> None:
    berlin, schedule = zones("Europe/Berlin"), rule("MIDNIGHT", 1, HALF_PAST_TWO)
    end = instant_of("2025-03-29 02:30+01:00")
    ours, theirs = berlin.ask(rotation, schedule, end), berlin.ask(standard_rotation, schedule, end)
    assert ours.rollover == "2025-03-30 03:30+02:00"
    assert theirs.rollover == (ours.rollover if KNOWS_CHANGES else "2025-03-30 01:30+01:00")


def test_differs_a_period_is_named_for_its_true_beginning(zones: Callable[[str], Zone]) -> None:
    berlin, schedule = zones("Europe/Berlin"), rule("H")
    ends = [instant_of("2025-10-26 02:00+02:00") + hours * HOUR for hours in range(4)]
    ours = [berlin.ask(rotation, schedule, end).name[-3:] for end in ends]
    theirs = [berlin.ask(standard_rotation, schedule, end).name[-3:] for end in ends]
    assert (ours, theirs) == (["_01", "_02", "_02", "_03"], ["_01", "_01", "_02", "_03"])
