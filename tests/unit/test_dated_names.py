"""The grammar of names that bear a date: what it writes, it reads back, and nothing else."""

import datetime as dt
import os
import re
import time
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, List, Optional, Pattern, Tuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from concurrent_log_handler.naming import COMPRESSED, DatedName, DatedNames
from support.children import Children

LOG = "/logs/app.log"
HOURLY = "%Y-%m-%d_%H"
DAILY = "%Y-%m-%d"


def date_before_log(path: str) -> str:
    """As `app.2026-11-22.log`: what 0.9.31 never deletes."""
    stem, _, date = path.partition(".log.")
    return f"{stem}.{date}.log"


def among_digits(path: str) -> str:
    stem, _, date = path.partition(".log.")
    return f"{stem}1{date}2.log"


def without_the_log(path: str) -> str:
    return "/logs/old." + path.partition(".log.")[2]


NAMERS: Dict[str, Optional[Callable[[str], str]]] = {
    "none": None,
    "date before .log": date_before_log,
    "one more extension": lambda path: path + ".txt",
    "extension of a compressed file": lambda path: path + ".gz",
    "counter of its own": lambda path: path + ".1",
    "one dash": lambda path: path.replace(".log.", "-"),
    "another folder": lambda path: path.replace("/logs", "/archive"),
    "without the log": without_the_log,
    "among digits": among_digits,
}

# Of these, the later one never sorts before the earlier one.
SORTABLE_SUFFIXES = [
    DAILY,
    HOURLY,
    "%Y-%m-%d_%H-%M",
    "%Y-%m-%d_%H-%M-%S",
    "%Y-%m-%d_%H-%M-%S.log",
    "%Y-%m-%d.%H",
    "%Y.%m.%d",
    "%Y%m%d%H%M%S",
    "%S-%M-%H_%d.%m.%Y",
    "%y%m%d",
    "%Y-%j",
    "%d-%b-%Y",
    "%d. %B %Y",
    "%A_%Y-%m-%d",
    "%Y-%m-%d-%a",
    "%Y-%m-%d_%I%p",
    "%F",
    "%F_%T",
    "%F_%R",
    "%F_%I%p",
    "%G-W%V",
    "%G-W%V-%u",
    "%Y-%U",
    "%Y-%W-%w",
    "%V_%G",
    "%d.%m.%Y_W%V",
    "(%Y)[%m]{%d}.*+?^$|\\",
    "%Y%%%m%%%d",
    "%%F_%Y-%m-%d",
    "f\u00fcr_%Y-%m-%d",
    "%Y-\n%m-%d",
    "%Y-%m-%d_%Y",
    "%Y-%m-%d_%I%p_%I",
    "%Y-%j_%Y",
    "%d-%b-%Y_%d",
]
OTHER_SUFFIXES = ["%H", "%T", "%m-%d", "%B", "%A", "%Y-%m-%d_%H%z", "old", "%%"]

# gmtime, so that what is later has the later wall time.
moments = st.integers(min_value=946_684_800, max_value=2_871_763_199).map(time.gmtime)
counters = st.one_of(st.just(0), st.integers(min_value=1, max_value=20), st.integers(1, 10**200))
extensions = st.sampled_from(["", *COMPRESSED])


def written(names: DatedNames, suffix: str, moment: time.struct_time, counter: int = 0) -> str:
    return names.further(names.path(time.strftime(suffix, moment)), counter)


# -------------------------------------------------------------------------------------- what is written is read


@pytest.mark.parametrize("suffix", [*SORTABLE_SUFFIXES, *OTHER_SUFFIXES])
@given(moments, counters, extensions, st.sampled_from(sorted(NAMERS)))
@settings(max_examples=60)
def test_what_was_written_is_read_back(
    suffix: str, moment: time.struct_time, counter: int, extension: str, namer: str
) -> None:
    names = DatedNames(LOG, suffix, NAMERS[namer])
    first = written(names, suffix, moment)
    name = names.read(first)
    assert name is not None
    assert name.counter == 0
    assert names.read(names.further(first, counter) + extension) == DatedName(name.date, counter)


@given(moments, counters, extensions, st.sampled_from(sorted(NAMERS)))
def test_the_counter_of_a_period_is_read_back(
    moment: time.struct_time, counter: int, extension: str, namer: str
) -> None:
    names = DatedNames(LOG, HOURLY, NAMERS[namer])
    first = written(names, HOURLY, moment)
    assert names.counter_of(first, names.further(first, counter) + extension) == counter


@given(moments, moments, counters, extensions)
def test_the_counter_is_that_of_one_period(
    moment: time.struct_time, other: time.struct_time, counter: int, extension: str
) -> None:
    names = DatedNames(LOG, HOURLY)
    first, further = written(names, HOURLY, moment), written(names, HOURLY, other, counter)
    is_same = time.strftime(HOURLY, moment) == time.strftime(HOURLY, other)
    assert names.counter_of(first, further + extension) == (counter if is_same else None)


@pytest.mark.parametrize("suffix", SORTABLE_SUFFIXES)
@given(
    st.lists(st.tuples(moments, st.integers(min_value=0, max_value=100)), min_size=2, max_size=6),
    extensions,
    st.sampled_from(["none", "date before .log"]),
)
@settings(max_examples=30)
def test_names_sort_by_age(
    suffix: str, entries: List[Tuple[time.struct_time, int]], extension: str, namer: str
) -> None:
    names = DatedNames(LOG, suffix, NAMERS[namer])
    by_age: List[Any] = []
    for moment, counter in sorted(entries, key=lambda entry: (entry[0], entry[1])):
        path = written(names, suffix, moment, counter)
        is_same_period = by_age and by_age[-1][0] == written(names, suffix, moment)
        if not is_same_period or by_age[-1][1] < counter:
            by_age.append((written(names, suffix, moment), counter, names.read(path + extension)))
    read = [name for _, _, name in by_age]
    assert None not in read
    assert sorted(set(read)) == read


def test_the_first_of_a_period_is_its_oldest() -> None:
    names = DatedNames(LOG, HOURLY)
    by_age = [
        f"{LOG}.{rest}"
        for rest in (
            "2026-11-22_09.11",
            "2026-11-22_10",
            "2026-11-22_10.1.gz",
            "2026-11-22_10.2",
            "2026-11-22_10.10",
            "2026-11-22_11.gz",
        )
    ]
    read = [names.read(path) or DatedName("", 0) for path in by_age]
    assert sorted(set(read)) == read


@pytest.mark.parametrize(
    ("suffix", "date"), [("%m-%d", "02-29"), ("%d-%b", "29-Feb"), ("%d.%m_%H", "29.02_10")]
)
def test_the_29th_of_february_is_read_without_a_year(suffix: str, date: str) -> None:
    assert DatedNames(LOG, suffix).read(f"{LOG}.{date}") is not None


def test_the_end_of_a_year_is_before_the_next_in_the_same_week() -> None:
    for week in ("%U", "%W"):
        names = DatedNames(LOG, "%Y-" + week)
        old, new = names.read(LOG + ".2025-52"), names.read(LOG + ".2026-00")
        assert old is not None
        assert new is not None
        assert old < new


def test_the_hour_that_comes_twice_sorts_by_its_offset() -> None:
    names = DatedNames(LOG, HOURLY + "%z")
    summer, winter = (names.read(f"{LOG}.2025-10-26_02{offset}") for offset in ("+0200", "+0100"))
    assert summer is not None
    assert winter is not None
    assert summer < winter


def live_in(connection: Connection, zone: str) -> None:
    os.environ["TZ"] = zone
    time.tzset()
    names = DatedNames(LOG, HOURLY + "_%Z")
    connection.send(names.read(written(names, HOURLY + "_%Z", time.localtime(1_800_000_000), 3) + ".gz"))


@pytest.mark.parametrize("zone", ["UTC", "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3"])
def test_the_name_of_the_zone_is_read_back(children: Children, zone: str) -> None:
    name = children.start(live_in, zone).answer()
    assert name is not None
    assert name.counter == 3


@pytest.mark.timeout(5)
@pytest.mark.parametrize("pattern", [None, re.compile("[0-9]*")])
@pytest.mark.parametrize("namer", [None, date_before_log])
def test_a_date_may_be_empty(namer: Optional[Callable[[str], str]], pattern: Optional[Pattern[str]]) -> None:
    names = DatedNames(LOG, "", namer, pattern)
    for counter in (0, 3):
        name = names.read(names.further(names.path(""), counter))
        assert name is not None
        assert name.counter == counter
    assert names.read("/logs/app2.log.") is None


# ------------------------------------------------------------------------------------------- and nothing else is

NEIGHBOURS = [
    # of the issue
    "app.log.old",
    "app.log.2026-13-45",
    "app2.log.1",
    "app.log.2026-11-22_10.bak",
    "app.log.err.1",
    # the live file, its numbered backups, its helpers
    "app.log",
    "app.log.",
    "app.log.1",
    "app.log.1.gz",
    "app.log.10",
    "app.log.gz",
    ".__app.lock",
    ".__app.state",
    ".__app.0123456789abcdef.tmp",
    # counters
    "app.log.2026-11-22_10.0",
    "app.log.2026-11-22_10.01",
    "app.log.2026-11-22_10.-1",
    "app.log.2026-11-22_10.+1",
    "app.log.2026-11-22_10.1.1",
    "app.log.2026-11-22_10.1_0",
    "app.log.2026-11-22_10. 1",
    "app.log.2026-11-22_10.1 ",
    "app.log.2026-11-22_10.1\n",
    "app.log.2026-11-22_10.",
    "app.log.2026-11-22_10..1",
    "app.log.2026-11-22_10.\uff11",
    "app.log.2026-11-22_10.\u00b2",
    "app.log.2026-11-22_10.\u0661",
    "app.log.2026-11-22_10.1e3",
    "app.log.2026-11-22_10.0x1",
    # extensions
    "app.log.2026-11-22_10.gz.gz",
    "app.log.2026-11-22_10.gz.1",
    "app.log.2026-11-22_10.1.gz.1",
    "app.log.2026-11-22_10.GZ",
    "app.log.2026-11-22_10gz",
    "app.log.2026-11-22_10.gz~",
    "app.log.2026-11-22_10.gz.tmp",
    "app.log.2026-11-22_10.zip",
    "app.log.gz.2026-11-22_10",
    # dates
    "app.log.2026-13-22_10",
    "app.log.2026-00-22_10",
    "app.log.2026-02-29_10",
    "app.log.2026-11-31_10",
    "app.log.2026-11-00_10",
    "app.log.2026-11-22_24",
    "app.log.0000-11-22_10",
    "app.log.26-11-22_10",
    "app.log.12026-11-22_10",
    "app.log.2026-11-22_100",
    "app.log.2026-1-22_10",
    "app.log.2026-11-22_1",
    "app.log.2026-11-22_ 1",
    "app.log.2026-11-22-10",
    "app.log.2026-11-22 10",
    "app.log.2026_11-22_10",
    "app.log.-026-11-22_10",
    "app.log.2026-11-22",
    "app.log.2026-11-22_10-30",
    "app.log.\u0662026-11-22_10",
    "app.log.2026-11-\uff12\uff12_10",
    "app.log.2026-11-22_10\n",
    "app.log.\n2026-11-22_10",
    "app.log.2026-11-22_10\n.1",
    "app.log.2026-11-22_10\0",
    "app.log. 2026-11-22_10",
    "app.log.2026-11-22_10 ",
    # other logs
    "app2.log.2026-11-22_10",
    "xapp.log.2026-11-22_10",
    "App.log.2026-11-22_10",
    "app.log2.2026-11-22_10",
    "app.log2026-11-22_10",
    "appxlog.2026-11-22_10",
    "app.log.err.2026-11-22_10",
    "app.log.2026-11-22_10.err.2026-11-22_10",
    "app.log.app.log.2026-11-22_10",
    "app.2026-11-22_10.log",
    "2026-11-22_10",
    "../app.log.2026-11-22_10",
    "/app.log.2026-11-22_10",
    "other/app.log.2026-11-22_10",
]


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_neighbours_are_not_backups(neighbour: str) -> None:
    names = DatedNames(LOG, HOURLY)
    assert names.read("/logs/" + neighbour) is None
    assert names.counter_of("/logs/app.log.2026-11-22_10", "/logs/" + neighbour) is None


@pytest.mark.parametrize(
    "neighbour",
    [
        "app.log",
        "app.log.2026-11-22",
        "app.log.2026-11-22.1",
        "app.2026-13-45.log",
        "app.2026-02-29.log",
        "app.2026-11-22.log.bak",
        "app.2026-11-22.log.0",
        "app.2026-11-22.log.01",
        "app.2026-11-22.log.gz.1",
        "app.2026-11-22.1.log",
        "app.2026-11-22.log\n",
        "app.2026-11-22.log.\uff11",
        "app.\uff12026-11-22.log",
        "app.2026-11-22_10.log",
        "app.2026-11-22.2026-11-22.log",
        "app.2026-11-22.logs",
        "app.err.2026-11-22.log",
        "app2.2026-11-22.log",
        "app.2.2026-11-22.log",
        "xapp.2026-11-22.log",
        "app..2026-11-22.log",
        "app.12026-11-22.log",
        "app.2026-11-220.log",
        "2026-11-22.log",
        "other/app.2026-11-22.log",
    ],
)
def test_with_a_namer_neighbours_are_not_backups(neighbour: str) -> None:
    names = DatedNames(LOG, DAILY, date_before_log)
    assert names.read("/logs/" + neighbour) is None


@pytest.mark.parametrize(
    "neighbour",
    [
        "app.log.2026-11-22",
        "app.log.2026-11-22.1",
        "app.log.2026-11-22.1.log",
        "app.log.2026-11-22xlog",
        "app.log.2026-11-22.log.log",
        "app.log.2026-11-22.log.log.1",
        "app.log.2026-11-22.log.bak",
        "app.log.2026-11-22.log.0",
        "app.log.2026-11-22.gz.log",
        "app.log.2026-13-45.log",
    ],
)
def test_with_a_suffix_that_ends_in_log_neighbours_are_not_backups(neighbour: str) -> None:
    assert DatedNames(LOG, "%Y-%m-%d.log").read("/logs/" + neighbour) is None


@pytest.mark.parametrize(
    ("suffix", "date"),
    [
        ("%Y.%m.%d", "2026x11x22"),
        ("(%Y)[%m]{%d}.*+?^$|\\", "20261122"),
        ("%Y%%%m%%%d", "2026%%11%%22"),
        ("%Y%%%m%%%d", "2026-11-22"),
        ("%%Y-%m", "%2026-11"),
        ("%%Y-%m", "2026-11"),
        ("%Y-%m-%d-%a", "2026-11-22-Sun."),
        ("%d-%b-%Y", "22-11-2026"),
        ("%d-%b-%Y", "22-Nope-2026"),
        ("%d-%b-%Y", "31-Feb-2026"),
        ("%d-%b-%Y", "22-\u217d-2026"),
        ("%Y-%j", "2026-366"),
        ("%Y-%j", "2028-367"),
        ("%Y-%j", "2026-000"),
        ("%Y-%j", "2026-1"),
        ("%H", "24"),
        ("%I%p", "00AM"),
        ("%I%p", "13PM"),
        ("%I%p", "10XM"),
        ("%G-W%V", "2026-W1"),
        ("%G-W%V", "2026-W00"),
        ("%G-W%V", "2026-W54"),
        ("%G-W%V", "2026-W99"),
        ("%G-W%V", "2025-W53"),
        ("%Y-%U", "2026-54"),
        ("%Y-%m-%d_%u", "2026-13-45_1"),
        ("%Y-%m-%d_W%V", "2026-02-30_W09"),
    ],
)
def test_dates_that_do_not_exist_are_not_read(suffix: str, date: str) -> None:
    assert DatedNames(LOG, suffix).read(f"{LOG}.{date}") is None


@pytest.mark.parametrize(
    ("suffix", "date"),
    [
        ("%d-%b-%Y", "22-nov-2026"),
        ("%d-%b-%Y", "22-NOV-2026"),
        ("%d-%B-%Y", "22-november-2026"),
        ("%Y-%m-%d_%I%p", "2026-11-22_10am"),
        ("%A_%Y-%m-%d", "Monday_2026-11-22"),
        ("%Y-%m-%d-%a", "2026-11-22-Mon"),
        ("%Y-%m-%d_%u", "2026-11-22_1"),
        ("%Y-%m-%d_W%V", "2026-11-22_W01"),
        ("%Y-%m-%d_%d", "2026-11-22_23"),
        ("%Y-%m-%d_%y", "2026-11-22_27"),
        ("%Y-%m-%d_%j", "2026-11-22_001"),
        ("%y-%m-%d_%S", "26-11-22_61"),
    ],
)
def test_dates_that_would_be_written_otherwise_are_not_read(suffix: str, date: str) -> None:
    assert DatedNames(LOG, suffix).read(f"{LOG}.{date}") is None


@pytest.mark.parametrize(
    ("suffix", "date"),
    [
        ("%s", "1795341600"),
        ("%Y-%m-%-d", "2026-11-2"),
        ("%Y-%m-%d_%k", "2026-11-22_10"),
        ("%Y-%m-%d %X", "2026-11-22 10:00:00"),
        ("%Y-%m-%d_%f", "2026-11-22_000000"),
        ("%Y-%m-%d_%Q", "2026-11-22_%Q"),
        ("%Y-%m-%d%", "2026-11-22%"),
        ("%Y-%m-%d%", "2026-11-22"),
        ("%", "%"),
    ],
)
@pytest.mark.parametrize("namer", [None, date_before_log])
def test_nothing_is_read_by_a_directive_that_is_not_known(
    suffix: str, date: str, namer: Optional[Callable[[str], str]]
) -> None:
    names = DatedNames(LOG, suffix, namer)
    assert names.read(names.path(date)) is None


def moment_of(suffix: str, path: str) -> Optional[dt.datetime]:
    """Return a moment of which a path is written, with some counter and extension, found by trying."""
    for extension in ("", *COMPRESSED):
        rest = path[: -len(extension)] if extension and path.endswith(extension) else path
        bare, _, number = rest.rpartition(".")
        is_counter = re.fullmatch("[1-9][0-9]*", number) is not None
        for date in [rest, bare] if is_counter else [rest]:
            try:
                moment = dt.datetime.strptime(date, f"{LOG}.{suffix}")  # noqa: DTZ007 - as naive as the name
            except ValueError:
                continue
            if date == f"{LOG}.{moment.strftime(suffix)}" or moment.year < 1000:
                return moment
    return None


@st.composite
def nearly(draw: st.DrawFn, suffix: str) -> str:
    """Draw a path that was written, with a few characters changed."""
    path = written(DatedNames(LOG, suffix), suffix, draw(moments), draw(st.integers(0, 12))) + draw(
        extensions
    )
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        # Most of the time within the date and what follows.
        start = draw(st.integers(min_value=draw(st.sampled_from([0, len(LOG)])), max_value=len(path)))
        end = start + draw(st.integers(min_value=0, max_value=3))
        put = draw(
            st.just(path[start:end].swapcase())
            | st.sampled_from(["Nov", "May", "Sun", "AM", "PM"])
            | st.text("0123456789.-_/%+ \naAbnopPgGxz\uff11\u00b2\u0661\u017f", max_size=2)
        )
        path = path[:start] + put + path[end:]
    return path


@pytest.mark.parametrize(
    "suffix",
    [
        DAILY,
        HOURLY,
        "%Y.%m.%d",
        "%Y-%m-%d.log",
        "%Y%m%d%H%M%S",
        "%y%m%d",
        "%Y-%j",
        "%d-%b-%Y",
        "%Y-%m-%d-%a",
        "%Y-%m-%d_%I%p",
        "%G-W%V-%u",
    ],
)
@given(st.data())
@settings(max_examples=200)
def test_only_what_would_be_written_is_read(suffix: str, data: st.DataObject) -> None:
    path = data.draw(nearly(suffix))
    moment = moment_of(suffix, path)
    assume(moment is None or moment.year >= 1000)  # whose names each C library writes as it likes
    assert (DatedNames(LOG, suffix).read(path) is None) == (moment is None)


@pytest.mark.parametrize(
    "log", ["/logs/a", "/logs/.log", "/logs/a.2026-11-22", "/logs/a\nb.log", "/logs/a[1].*"]
)
@given(moments, st.integers(min_value=0, max_value=12), extensions)
def test_logs_may_have_any_name(log: str, moment: time.struct_time, counter: int, extension: str) -> None:
    names = DatedNames(log, DAILY)
    path = written(names, DAILY, moment, counter) + extension
    assert names.read(path) == DatedName(time.strftime("%Y-%m-%dT00:00:00", moment), counter)
    assert DatedNames(LOG, DAILY).read(path) is None


@pytest.mark.parametrize(
    ("log", "other"),
    [
        ("/logs/app.log", "/logs/app.log.err"),
        ("/logs/app.log", "/logs/app.log.2026-11-22"),
        ("/logs/app.log", "/logs/app.log.1"),
        ("/logs/app", "/logs/app.log"),
        ("/logs/app.log", "/logs/my-app.log"),
        ("/logs/app.log", "/other/app.log"),
        ("/logs/app.log", "/logs/app-log"),
    ],
)
@pytest.mark.parametrize("namer", [None, date_before_log])
@given(moments, st.integers(min_value=0, max_value=12), extensions)
@settings(max_examples=30)
def test_the_backups_of_another_log_are_its_own(
    log: str,
    other: str,
    namer: Optional[Callable[[str], str]],
    moment: time.struct_time,
    counter: int,
    extension: str,
) -> None:
    path = written(DatedNames(other, DAILY, namer), DAILY, moment, counter) + extension
    assert DatedNames(log, DAILY, namer).read(path) is None


def test_only_the_extensions_that_are_given_are_taken_off() -> None:
    names = DatedNames(LOG, DAILY, extensions=(".7z",))
    endings = ["", ".7z", ".1.7z", ".gz", ".1.gz", ".7z.1"]
    found = [names.read(f"{LOG}.2026-11-22{ending}") for ending in endings]
    day = "2026-11-22T00:00:00"
    assert found == [DatedName(day, 0), DatedName(day, 0), DatedName(day, 1), None, None, None]


# ------------------------------------------------------------------------------------- what the user says is one

EPOCH = re.compile(r"\d{10}", re.ASCII)


@pytest.mark.parametrize("namer", sorted(set(NAMERS) - {"among digits"}))
@given(st.integers(10**9, 10**10 - 1), counters, extensions)
@settings(max_examples=60)
def test_what_the_users_pattern_matches_is_a_date(
    namer: str, instant: int, counter: int, extension: str
) -> None:
    names = DatedNames(LOG, "%s", NAMERS[namer], EPOCH)
    path = names.further(names.path(str(instant)), counter) + extension
    assert names.read(path) == DatedName(str(instant), counter)


@pytest.mark.parametrize(
    "neighbour",
    [
        "app.log",
        "app.log.1795341600.bak",
        "app.log.1795341600.01",
        "app.log.17953416000",
        "app.log.179534160",
        "app.log.1795341600\n",
        "app.log.x1795341600",
        "app.log.err.1795341600",
        "app2.log.1795341600",
    ],
)
def test_the_users_pattern_must_match_all_of_it(neighbour: str) -> None:
    for pattern in (EPOCH, re.compile("^[0-9]{10}$")):
        assert DatedNames(LOG, "%s", None, pattern).read("/logs/" + neighbour) is None


@pytest.mark.parametrize("namer", [None, date_before_log])
def test_the_users_pattern_is_asked_only_where_suffix_cannot_be_read(
    namer: Optional[Callable[[str], str]],
) -> None:
    names = DatedNames(LOG, DAILY, namer, re.compile("[0-9]{10}|2026-.*"))
    assert names.read(names.path("2026-11-22") + ".1") == DatedName("2026-11-22T00:00:00", 1)
    assert [names.read(names.path(date)) for date in ("1795341600", "2026-13-45", "2026-11-22.old")] == [
        None
    ] * 3


@pytest.mark.parametrize(
    "pattern",
    [
        re.compile(r"^\d{10}$", re.ASCII),
        re.compile(r"^\d{10}(\.\w+)?$", re.ASCII),  # as the standard library has them before 3.13
        re.compile(r"(?<!\d)\d{10}(?!\d)", re.ASCII),  # and since
    ],
)
@pytest.mark.parametrize("namer", [None, date_before_log])
def test_patterns_may_be_written_as_the_standard_librarys(
    pattern: Pattern[str], namer: Optional[Callable[[str], str]]
) -> None:
    names = DatedNames(LOG, "%s", namer, pattern)
    first = names.path("1795341600")
    assert names.read(first) == DatedName("1795341600", 0)
    assert names.read(names.further(first, 12)) == DatedName("1795341600", 12)
    assert names.read(names.further(first, 12) + ".gz") == DatedName("1795341600", 12)
