"""Sizes, ages and times of day as text."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
from concurrent_log_handler.settings import limits, size
from concurrent_log_handler.units import AGES, SIZES, age_of, size_of, time_of_day

MB, GB, DAY = 1_000_000, 1_000_000_000, 86_400


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0),
        ("1048576", 1_048_576),
        ("1_000_000", MB),
        ("10 MB", 10 * MB),
        ("10MB", 10 * MB),
        (" 10  mb ", 10 * MB),
        ("10M", 10 * MB),
        ("500k", 500_000),
        ("500 kB", 500_000),
        ("1.5 GB", 1_500_000_000),
        ("0.1 GB", 100_000_000),
        ("2 TB", 2_000 * GB),
        ("1 KiB", 1024),
        ("1 MiB", 1_048_576),
        ("2 GiB", 2 * 1024**3),
        ("1 TiB", 1024**4),
        ("1 byte", 1),
        ("12 bytes", 12),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, bytes_: int) -> None:
    assert size_of(text) == bytes_
    assert size("maxBytes", text) == bytes_


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MB",
        "-1",
        "-1 MB",
        "ten MB",
        "10 XB",
        "10 MB/s",
        "10 M B",
        "1,5 MB",
        "1e6",
        "1.5",
        "0x10",
        ".",
    ],
)
def test_what_is_no_whole_number_of_bytes_is_named(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be bytes, 0 or more, a number or text such as '10 MB'$"
    ) as caught:
        size("max_total_bytes", text)
    assert str(caught.value).startswith(f"max_total_bytes={text!r} is not allowed")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("30 s", 30),
        ("1 second", 1),
        ("90 seconds", 90),
        ("10 min", 600),
        ("10m", 600),
        ("36 h", 129_600),
        ("1.5 hours", 5_400),
        ("7 days", 7 * DAY),
        ("7D", 7 * DAY),
        ("1 week", 7 * DAY),
        ("2 Weeks", 14 * DAY),
        ("1 day 12 hours", 129_600),
        ("1 day, 12 hours", 129_600),
        ("1d12h30m", 131_400),
    ],
)
def test_an_age_is_numbers_and_units(text: str, seconds: float) -> None:
    assert age_of(text) == seconds
    assert limits(text, None, None).max_age == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0 days",
        "-1 day",
        "days",
        "a week",
        "1 month",
        "2 years",
        "1 day and 2 hours",
        "1 day 2",
        "7 days!",
    ],
)
def test_what_is_no_age_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="must be None, more than 0 seconds, a timedelta, or text") as caught:
        limits(text, None, None)
    assert str(caught.value).startswith(f"max_age={text!r} is not allowed")


@given(st.integers(0, 10**15), st.sampled_from(sorted(SIZES)), st.sampled_from(["", " "]))
def test_every_unit_of_size_reads_in_any_case(number: int, unit: str, space: str) -> None:
    assert (
        size_of(f"{number}{space}{unit}") == size_of(f"{number}{space}{unit.upper()}") == number * SIZES[unit]
    )


@given(st.integers(0, 10**9), st.sampled_from(sorted(AGES)))
def test_every_unit_of_time_reads_in_any_case(number: int, unit: str) -> None:
    assert age_of(f"{number} {unit}") == age_of(f"{number}{unit.title()}") == number * AGES[unit]


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    for read in (size_of, age_of):
        value: Any = read(text)
        assert value is None or value >= 0
    time_of_day(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("02:30", dt.time(2, 30)),
        ("2:30", dt.time(2, 30)),
        ("23:59:30", dt.time(23, 59, 30)),
        ("00:00", dt.time(0, 0)),
        ("24:00", None),
        ("02:60", None),
        ("2", None),
        ("", None),
        ("02:30pm", None),
    ],
)
def test_a_time_of_day(text: str, time: Any) -> None:
    assert time_of_day(text) == time


def test_handlers_take_sizes_and_ages_as_text(live: Path) -> None:
    handler = ConcurrentRotatingFileHandler(
        live,
        maxBytes="10 MB",
        backupCount=5,
        max_total_bytes="1 GB",
        min_free_bytes="5 GiB",
        max_age="7 days",
    )
    assert handler.maxBytes == 10 * MB
    handler.maxBytes = "20 kB"
    assert handler.maxBytes == 20_000
    handler.close()
    timed = ConcurrentTimedRotatingFileHandler(live, when="midnight", atTime="02:30", maxBytes="1 MiB")
    assert (timed.atTime, timed.maxBytes) == (dt.time(2, 30), 1_048_576)
    timed.close()


def test_a_time_of_day_that_is_none_is_named(live: Path) -> None:
    with pytest.raises(
        ValueError, match=r"atTime='25:00' is not allowed: must be None, a datetime\.time, or text"
    ):
        ConcurrentTimedRotatingFileHandler(live, when="midnight", atTime="25:00")
