"""What the old files of the timed handler are called, which of them expire, and what is never touched."""

import logging
import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Type

import pytest

from support.folder import LIVE
from support.timed import Handler, TimedLog, in_its_time, instant

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


class Log(TimedLog):
    """A log that one handler after the other writes to."""

    def open(self, kind: Type[Handler] = Handler, **arguments: Any) -> Handler:
        """Open it, as a new process would that comes in the place of the one before."""
        self.end()
        return super().open(kind, **arguments)

    def write(self, *texts: str) -> None:
        self.log_at(self.now, *texts)

    def write_for_hours(self, hours: int) -> None:
        """Log the hour once in each of the coming hours."""
        for _ in range(hours):
            self.write(time.strftime("%d-%H", time.gmtime(self.now)))
            self.now += 3600

    def files(self, folder: Optional[Path] = None) -> Dict[str, str]:
        """Return what is in the folder, the helpers left out, in words instead of lines."""
        return {
            each.name: " ".join(each.read_text("utf-8").split())
            for each in (folder or self.folder).iterdir()
            if each.is_file() and not each.is_symlink() and each.suffix not in {".lock", ".state"}
        }


def plant(folder: Path, *names: str) -> Dict[str, str]:
    """Write files that say where they come from; return what `Log.files` finds in them."""
    for name in names:
        (folder / name).write_text("planted")
    return dict.fromkeys(names, "planted")


@pytest.fixture
def log(live: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    yield from in_its_time(Log(live.parent), monkeypatch, capsys)


def date_in_the_middle(default: str) -> str:
    """`app.log.2021-11-22` becomes `app.2021-11-22.log`."""
    base, date = default.rsplit(".log.", maxsplit=1)
    return f"{base}.{date}.log"


def date_in_front(default: str) -> str:
    folder, name = os.path.split(default)
    base, date = name.rsplit(".log.", maxsplit=1)
    return os.path.join(folder, f"{date}-{base}.log")  # noqa: PTH118


# ---------------------------------------------------------------------------------------------------- counters


@both_modes
def test_further_files_of_a_period_get_counters_also_after_a_restart(log: Log, locking: str) -> None:
    log.open(maxBytes=1, locking=locking)
    log.write("a", "b")
    log.open(maxBytes=1, locking=locking)
    log.write("c", "d")
    log.now = instant("11:00")
    log.write("e", "f")
    assert log.files() == {
        LIVE: "f",
        "app.log.2021-11-22_10": "a",
        "app.log.2021-11-22_10.1": "b",
        "app.log.2021-11-22_10.2": "c",
        "app.log.2021-11-22_10.3": "d",
        "app.log.2021-11-22_11": "e",
    }


@both_modes
def test_a_counter_is_not_used_again_when_the_oldest_have_expired(log: Log, locking: str) -> None:
    for _ in range(2):
        log.open(maxBytes=1, backupCount=2, locking=locking)
        log.write(*"abcdef")
    assert log.files() == {
        LIVE: "f",
        "app.log.2021-11-22_10.9": "d",
        "app.log.2021-11-22_10.10": "e",
    }


def test_a_gap_in_the_counters_stays(log: Log) -> None:
    planted = plant(log.folder, "app.log.2021-11-22_10.3", "app.log.2021-11-22_10.7")
    log.open(maxBytes=1)
    log.write(*"abc")
    assert log.files() == {
        LIVE: "c",
        **planted,
        "app.log.2021-11-22_10.8": "a",
        "app.log.2021-11-22_10.9": "b",
    }


@pytest.mark.parametrize("kind", ["directory", "dangling-link", "link-to-the-log"])
@both_modes
def test_a_name_that_something_else_has_is_passed_over(log: Log, locking: str, kind: str) -> None:
    taken = log.folder / "app.log.2021-11-22_10"
    if kind == "directory":
        taken.mkdir()
    else:
        taken.symlink_to("nowhere" if kind == "dangling-link" else LIVE)
    log.open(maxBytes=1, backupCount=1, locking=locking)
    log.write(*"abc")
    assert log.files() == {LIVE: "c", "app.log.2021-11-22_10.2": "b"}
    assert taken.is_dir() if kind == "directory" else taken.is_symlink()


# ------------------------------------------------------------------------------------- suffixes, and what expires

SUFFIXES = [
    "%Y-%m-%d_%H",
    "%Y-%m-%d_%H-%M-%S.log",
    "%Y%m%d%H.log",
    "%d.%m.%Y-%H",
    "%m-%d-%y %H",
    "%b_%d_%Y_%H",
    "%A, %d %B %Y, %I%p",
    "%Y-%j-%H",
    "%G-W%V-%u-%H",
    "at %F %R",
    "100%%-%Y-%m-%d_%H",
]
NAMERS: List[Optional[Callable[[str], str]]] = [None, date_in_the_middle, date_in_front]


@pytest.mark.parametrize("namer", NAMERS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_of_any_form_are_read_back_and_the_oldest_expire(
    log: Log, suffix: str, namer: Optional[Callable[[str], str]]
) -> None:
    """Across the end of a month and of a week, where the order of the texts is not that of time."""

    class Named(Handler):
        def finalize_handler_configuration(self) -> None:
            self.suffix, self.namer = suffix, namer

    for day in ("2021-11-28", "2021-11-30"):
        log.now = instant("22:00", day)
        log.open(Named, backupCount=3)
        log.write_for_hours(5)
    log.write("a", "b")
    last = instant("03:00", "2021-12-01")
    expected = {LIVE: "a b"}
    for age in range(3):
        moment = time.gmtime(last - (age + 1) * 3600)
        default = f"{log.folder}/app.log.{time.strftime(suffix, moment)}"
        path = Path(default if namer is None else namer(default))
        expected[path.name] = time.strftime("%d-%H", moment)
    assert log.files() == expected


@pytest.mark.parametrize("namer", NAMERS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@both_modes
def test_names_of_any_form_get_counters_that_are_read_back(
    log: Log, locking: str, suffix: str, namer: Optional[Callable[[str], str]]
) -> None:
    handler = log.open(maxBytes=1, backupCount=2, locking=locking)
    handler.suffix, handler.namer = suffix, namer
    log.write(*"abcdefghijklm")
    default = f"{log.folder}/app.log.{time.strftime(suffix, time.gmtime(log.now))}"
    first = Path(default if namer is None else namer(default)).name
    assert log.files() == {LIVE: "m", f"{first}.10": "k", f"{first}.11": "l"}


def test_a_week_expires_before_those_of_the_next_year(log: Log) -> None:
    log.now = instant("10:00", "2021-12-06")
    handler = log.open(when="W6", backupCount=2)
    handler.suffix = "week-%W-of-%Y"
    for week in range(7):
        log.write(f"{week}")
        log.now += 7 * 24 * 3600
    assert sorted(log.files().values()) == ["4", "5", "6"]


@both_modes
def test_files_of_another_period_are_left_to_whoever_has_changed_it(log: Log, locking: str) -> None:
    """As in 0.9.x."""
    planted = plant(log.folder, "app.log.2021-11-20", "app.log.2021-11-21", "app.log.1", "app.log.2")
    log.open(backupCount=1, locking=locking)
    log.write_for_hours(4)
    assert log.files() == {LIVE: "22-13", "app.log.2021-11-22_12": "22-12", **planted}


# ---------------------------------------------------------------------------------------- a namer that moves away


@both_modes
def test_a_namer_may_send_the_files_to_another_directory(log: Log, tmp_path: Path, locking: str) -> None:
    old = tmp_path / "old"
    old.mkdir()
    neighbours = plant(old, "app.log", "app.log.old", "app.log.2021-13-45_99", "other.log.2021-11-01_10")
    beside = plant(log.folder, "app.log.2021-11-01_10")  # where the namer does not send any
    plant(old, "app.log.2021-11-01_09", "app.log.2021-11-01_10")
    handler = log.open(backupCount=2, locking=locking)
    handler.namer = lambda default: str(old / Path(default).name)
    log.write_for_hours(5)
    assert log.files() == {LIVE: "22-14", **beside}
    assert log.files(old) == {
        **neighbours,
        "app.log.2021-11-22_12": "22-12",
        "app.log.2021-11-22_13": "22-13",
    }


def test_a_namer_may_make_a_directory_for_each_day(log: Log) -> None:
    def namer(default: str) -> str:
        folder, name = os.path.split(default)
        day = Path(folder, name.rsplit(".", 1)[1].split("_")[0])
        day.mkdir(exist_ok=True)
        return str(day / name)

    log.now = instant("22:00")
    handler = log.open()
    handler.namer = namer
    log.write_for_hours(4)
    assert log.files() == {LIVE: "23-01"}
    assert log.files(log.folder / "2021-11-22") == {
        "app.log.2021-11-22_22": "22-22",
        "app.log.2021-11-22_23": "22-23",
    }
    assert log.files(log.folder / "2021-11-23") == {"app.log.2021-11-23_00": "23-00"}


def test_a_namer_that_knows_no_date_gives_counters_to_one_name(log: Log) -> None:
    handler = log.open(backupCount=9)
    handler.namer = lambda default: str(Path(default).with_name("app.old"))
    log.write_for_hours(4)
    assert log.files() == {LIVE: "22-13", "app.old": "22-10", "app.old.1": "22-11", "app.old.2": "22-12"}


# ---------------------------------------------------------------------------------------------------- neighbours

NEIGHBOURS = [
    "app.log.old",
    "app.log.2021-13-45",
    "app.log.2021-13-45_10",
    "app.log.2021-11-31_10",  # no such day
    "app.log.2021-11-01_24",
    "app.log.2021-11-01_1",
    "app.log.2021-11-1_10",
    "app.log.2021-11-01_10 ",
    "app.log.2021-11-01_10\n",
    "app.log. 2021-11-01_10",
    "app.log.2021-11-01-10",
    "app.log.2021-11-01_10-00",
    "app.log.2021-11-01",
    "app.log.2021-11-01_10.bak",
    "app.log.2021-11-01_10.0",
    "app.log.2021-11-01_10.01",
    "app.log.2021-11-01_10.1.2",
    "app.log.2021-11-01_10.-1",
    "app.log.2021-11-01_10.1.bak",
    "app.log.2021-11-01_10.1~",
    "app.log.2021-11-01_10~",
    "app.log.2021-11-01_10.gz.1",
    "app.log.2021-11-01_10.gz.gz",
    "app.log.2021-11-01_10.GZ",
    "app.log.2021-11-01_10.zip",
    "app.log.2021-11-01_10.log",
    "app.log.2021-11-01_10.tmp",
    "app.log.x2021-11-01_10",
    "app.log.err.2021-11-01_10",
    "app.log.err.2021-11-01_10.1",
    "app.log.err.1",
    "app.log.err",
    "app.log.1",
    "app.log.1.gz",
    "app.log.\N{ARABIC-INDIC DIGIT TWO}021-11-01_10",
    "app.log..2021-11-01_10",
    "app.log.2021-11-01_10.\N{SUPERSCRIPT TWO}",
    "app.log-2021-11-01_10",
    "app.log2021-11-01_10",
    "app.log.",
    "app2.log.1",
    "app2.log.2021-11-01_10",
    "app.2021-11-01_10.log",
    "my-app.log.2021-11-01_10",
    "App.log.2021-11-01_10",
    "xapp.log.2021-11-01_10",
    "2021-11-01_10",
    ".__app.log",
    ".__app2.log",
]


@both_modes
def test_neighbours_are_never_touched(log: Log, locking: str) -> None:
    neighbours = plant(log.folder, *NEIGHBOURS)
    (log.folder / "app.log.2021-11-01_11").mkdir()
    (log.folder / "app.log.2021-11-01_12").symlink_to(LIVE)
    (log.folder / "app.log.2021-11-01_13").symlink_to("app.log.old")
    plant(log.folder, "app.log.2021-11-01_14", "app.log.2021-11-01_14.1")  # these, and only these, are ours
    handler = log.open(backupCount=1, max_age=1, max_total_bytes=0, min_free_bytes=2**62, locking=locking)
    assert [Path(path).name for path in handler.getFilesToDelete()] == ["app.log.2021-11-01_14"]
    log.write_for_hours(4)
    assert log.files() == {LIVE: "22-13", **neighbours}
    assert (log.folder / "app.log.2021-11-01_11").is_dir()
    assert (log.folder / "app.log.2021-11-01_12").is_symlink()
    assert (log.folder / "app.log.2021-11-01_13").is_symlink()


@pytest.mark.parametrize("namer", [date_in_the_middle, date_in_front])
def test_neighbours_are_never_touched_with_a_namer_either(log: Log, namer: Callable[[str], str]) -> None:
    neighbours = plant(
        log.folder,
        *(name for name in NEIGHBOURS if name != "app.2021-11-01_10.log"),
        "app.2021-11-01_10.log.bak",
        "app.2021-11-01_10.log.0",
        "app.2021-11-01_24.log",
        "app.2021-11-01.log",
        "app.2021-11-01_10.1.log",
        "app..2021-11-01_10.log",
        "app2.2021-11-01_10.log",
        "app.err.2021-11-01_10.log",
        "2021-11-01_10-app2.log",
        "2021-11-01_24-app.log",
        "12021-11-01_10-app.log",
        "app.log.2021-11-01_10",
    )
    handler = log.open(backupCount=1)
    handler.namer = namer
    log.write_for_hours(4)
    last = Path(namer(f"{log.folder}/app.log.2021-11-22_12")).name
    assert log.files() == {LIVE: "22-13", last: "22-12", **neighbours}


def test_two_logs_of_which_one_name_begins_with_the_other_leave_each_other_alone(log: Log) -> None:
    other = Handler(log.folder / "app.log.err", utc=True, backupCount=9)
    log.open(backupCount=1)
    for _ in range(4):
        other._log.settings = other._log.settings
        other.handle(logging.makeLogRecord({"msg": "err"}))
        log.write_for_hours(1)
    other.close()
    assert log.files() == {
        LIVE: "22-13",
        "app.log.2021-11-22_12": "22-12",
        "app.log.err": "err",
        **{f"app.log.err.2021-11-22_{hour}": "err" for hour in (10, 11, 12)},
    }


def test_special_characters_in_the_name_of_the_log_stand_for_themselves(log: Log) -> None:
    name = "a[b]*?%Y(c+).log"
    log.handlers.append(Handler(log.folder / name, utc=True, backupCount=1))
    planted = plant(log.folder, "ab.log.2021-11-01_10", "a[b]*?2021(c+).log.2021-11-01_10")
    log.write_for_hours(4)
    assert log.files() == {name: "22-13", f"{name}.2021-11-22_12": "22-12", **planted}


# ---------------------------------------------------------------------------------------------------- compressed

EXTENSIONS = ["gz", "bz2", "xz", "zst", "lz4"]


@pytest.mark.parametrize("extension", EXTENSIONS)
@both_modes
def test_compressed_files_count_and_expire(log: Log, locking: str, extension: str) -> None:
    names = [f"app.log.2021-11-20_{hour}.{extension}" for hour in (10, 11, 12)]
    names.append(f"app.log.2021-11-20_12.1.{extension}")
    plant(log.folder, *names)
    handler = log.open(backupCount=3, locking=locking)
    assert [Path(path).name for path in handler.getFilesToDelete()] == names[:1]
    log.write_for_hours(2)
    assert log.files() == {
        LIVE: "22-11",
        "app.log.2021-11-22_10": "22-10",
        **dict.fromkeys(names[2:], "planted"),
    }
    log.write_for_hours(3)
    assert set(log.files()) == {LIVE, *(f"app.log.2021-11-22_{hour}" for hour in (11, 12, 13))}


@both_modes
def test_daily_compressed_files_of_0_9_x_expire(log: Log, locking: str) -> None:
    plant(log.folder, "app.log.2021-11-19.gz", "app.log.2021-11-20.gz", "app.log.2021-11-20.1.gz")
    log.open(when="MIDNIGHT", backupCount=2, locking=locking)
    log.write("22")
    log.now += 24 * 3600
    log.write("23")
    assert log.files() == {LIVE: "23", "app.log.2021-11-22": "22", "app.log.2021-11-20.1.gz": "planted"}


@both_modes
def test_the_name_of_a_compressed_file_is_taken(log: Log, locking: str) -> None:
    planted = plant(log.folder, "app.log.2021-11-22_10.gz", "app.log.2021-11-22_10.1.xz")
    log.open(maxBytes=1, locking=locking)
    log.write(*"abc")
    assert log.files() == {
        LIVE: "c",
        "app.log.2021-11-22_10.2": "a",
        "app.log.2021-11-22_10.3": "b",
        **planted,
    }


@pytest.mark.parametrize("namer", [date_in_the_middle, date_in_front])
def test_compressed_files_expire_with_a_namer_as_well(log: Log, namer: Callable[[str], str]) -> None:
    first = Path(namer(f"{log.folder}/app.log.2021-11-20_10")).name
    plant(log.folder, f"{first}.gz", f"{first}.1.gz")
    handler = log.open(backupCount=2)
    handler.namer = namer
    log.write_for_hours(2)
    second = Path(namer(f"{log.folder}/app.log.2021-11-22_10")).name
    assert log.files() == {LIVE: "22-11", second: "22-10", f"{first}.1.gz": "planted"}


def test_a_namer_of_the_users_that_adds_an_extension_gets_counters_behind_it(log: Log) -> None:
    """As in 0.9.x; a suffix or a namer that ends in `.gz` does not say that the file is compressed."""
    handler = log.open(maxBytes=1, backupCount=2)
    handler.namer = lambda default: default + ".gz"
    log.write(*"abcde")
    assert log.files() == {
        LIVE: "e",
        "app.log.2021-11-22_10.gz.2": "c",
        "app.log.2021-11-22_10.gz.3": "d",
    }


def test_names_that_only_the_users_pattern_knows_do_not_drive_out_what_is_new(log: Log) -> None:
    """How old these are, nobody knows."""
    plant(log.folder, "app.log.old-1", "app.log.old-2")
    neighbours = plant(log.folder, "app.log.old-x", "app.log.old-1x")
    handler = log.open(backupCount=2)
    handler.extMatch = re.compile(r"old-\d", re.ASCII)
    log.write_for_hours(4)
    found = log.files()
    assert {name: found[name] for name in neighbours} == neighbours
    assert found["app.log.2021-11-22_12"] == "22-12"
