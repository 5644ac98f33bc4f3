"""A handler that was pickled, or copied, is one of the same settings, and has its files still to open.

What it writes is compared, byte for byte, with what the original writes in its place.
"""

import copy
import datetime as dt
import functools
import gc
import inspect
import io
import logging
import logging.config
import os
import pickle
import platform
import re
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Type, Union

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
from support.children import LONG, Children
from support.folder import LIVE, PAGE, assert_every_record_once, contents, plant
from support.records import EVEN, even
from support.timed import instant, look_at_everything
from support.writers import (
    POINTS,
    Scribe,
    Watched,
    WatchedHandler,
    WatchedTimedHandler,
    allow_interrupt_before_the_first,
)

Handler = Union[ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler]
Way = Callable[[Any], Any]


def pickled(handler: Any, protocol: Optional[int] = None) -> Any:
    if (protocol or 0) > pickle.HIGHEST_PROTOCOL:
        pytest.skip("protocol 5 came with Python 3.8")
    return pickle.loads(pickle.dumps(handler, protocol))  # noqa: S301 - it is ours


def itself(handler: Any) -> Any:
    return handler


WAYS: Dict[str, Way] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"protocol-{number}": functools.partial(pickled, protocol=number) for number in range(6)},
}
each_way = pytest.mark.parametrize("duplicate", WAYS.values(), ids=list(WAYS))
by_pickle_and_copy = pytest.mark.parametrize("duplicate", [pickled, copy.copy, copy.deepcopy])
both_kinds = pytest.mark.parametrize("kind", [WatchedHandler, WatchedTimedHandler], ids=["size", "time"])
both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
looks_at_open_files = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")


def open_files(folder: Path) -> Set[str]:
    """Return the files of a folder that this process has open."""
    targets = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
    return {target for target in targets if target.startswith(str(folder))}


# ------------------------------------------------------------------------- what users hand to a handler


def header() -> str:
    return "# from a function"


def to_old(default: str) -> str:
    return default + ".old"


def turn_around(source: str, target: str) -> None:
    Path(target).write_bytes(Path(source).read_bytes()[::-1])
    Path(source).unlink()


def note(path: str) -> None:
    """Write down what was handed on, and whether the logging call did it."""
    in_call = threading.current_thread() is threading.main_thread()
    with Path(path).with_name("handed-on").open("a") as stream:
        stream.write(f"{Path(path).name} {in_call}\n")


class Capitals:
    """A codec of the user's."""

    extension = ".CAPS"

    def open(self, path: str) -> IO[bytes]:
        return _Capitals(path, "wb")


class _Capitals(io.FileIO):
    def write(self, data: Any) -> int:
        return super().write(bytes(data).upper())


class Stars(logging.Formatter):
    def __init__(self, count: int) -> None:
        super().__init__("%(message)s")
        self.count = count

    def format(self, record: logging.LogRecord) -> str:
        return "*" * self.count + super().format(record)


class Only:
    """A filter with something to remember."""

    def __init__(self, *levels: int) -> None:
        self.levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno in self.levels


def not_of_the_till(record: logging.LogRecord) -> bool:
    return record.name != "till"


class EveryFifth(ConcurrentRotatingFileHandler):
    """Rotates by a rule of its own, to names of its own, with a word at the end of each file."""

    def __init__(self, path: str, every: int, word: str, **arguments: Any) -> None:
        super().__init__(path, **arguments)
        self.every, self.word, self.seen = every, word, [0]

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: ARG002, N802 - logging named it
        self.seen[0] += 1
        return self.seen[0] % self.every == 0

    def doRollover(self) -> None:  # noqa: N802 - logging named it
        with Path(self.baseFilename).open("a") as stream:
            stream.write(self.word)
        super().doRollover()

    def rotation_filename(self, default_name: str) -> str:
        return super().rotation_filename(default_name) + "." + self.word.lower()


class OwnMethods(ConcurrentRotatingFileHandler):
    """Hands its own methods to itself."""

    def __init__(self, path: str, word: str, **arguments: Any) -> None:
        super().__init__(path, header=self.head, **arguments)
        self.namer = self.name_for
        self.word = word

    def head(self) -> str:
        return "# " + self.word

    def name_for(self, default: str) -> str:
        return default + "." + self.word


class OwnState(ConcurrentRotatingFileHandler):
    """Keeps what no pickle takes, and makes it anew."""

    def __init__(self, path: str, **arguments: Any) -> None:
        super().__init__(path, **arguments)
        self.mine = threading.Lock()

    def __getstate__(self) -> Dict[str, Any]:
        state = super().__getstate__()
        del state["mine"]
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        super().__setstate__(state)
        self.mine = threading.Lock()

    def format(self, record: logging.LogRecord) -> str:
        with self.mine:
            return "under a lock: " + super().format(record)


class Hooked(ConcurrentTimedRotatingFileHandler):
    """Sets all that the hook is for."""

    def __init__(self, path: str, suffix: str, **arguments: Any) -> None:
        self.wanted = suffix
        super().__init__(path, **arguments)

    def finalize_handler_configuration(self) -> None:
        self.suffix = self.wanted
        self.extMatch = re.compile(r"^\d{8}(\.old)?$", re.ASCII)
        self.namer = to_old


class OwnTime(ConcurrentTimedRotatingFileHandler):
    """Has a rule of its own for when it rotates and what is deleted."""

    def __init__(self, path: str, every: int, **arguments: Any) -> None:
        self.every = every
        super().__init__(path, **arguments)
        self.spared = "03-00"

    def computeRollover(self, currentTime: float) -> int:  # noqa: N802, N803 - logging named them
        return int(currentTime) // self.every * self.every + self.every

    def getFilesToDelete(self) -> List[str]:  # noqa: N802 - logging named it
        return [path for path in super().getFilesToDelete() if self.spared not in path]


# --------------------------------------------------------------------- what the duplicate writes, by size


def nothing(handler: Any) -> None:
    """Change nothing."""


class Case(NamedTuple):
    """A handler that differs from an ordinary one in something that shows in its files."""

    arguments: Dict[str, Any]
    change: Callable[[Any], object] = nothing
    kind: Optional[Type[Handler]] = None


def given(**arguments: Any) -> Case:
    return Case(arguments)


def changed(change: Callable[[Any], object], **arguments: Any) -> Case:
    return Case(arguments, change)


def with_(**attributes: Any) -> Callable[[Any], None]:
    def change(handler: Any) -> None:
        for name, value in attributes.items():
            setattr(handler, name, value)

    return change


def formatted(*arguments: Any, **options: Any) -> Case:
    return changed(lambda handler: handler.setFormatter(logging.Formatter(*arguments, **options)))


def in_sydney(handler: Any) -> None:
    formatter = logging.Formatter("%(asctime)s %(message)s", "%H:%M")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)


def replaced_filter(handler: Any) -> None:
    handler.addFilter(not_of_the_till)
    handler.removeFilter(not_of_the_till)
    handler.addFilter(Only(logging.ERROR))


class Outcome(NamedTuple):
    """All that is left behind."""

    files: Dict[str, Tuple[int, int, bytes]]
    """Permissions, owner and content by name; of a link, where it leads to."""
    told: str


def leavings(folder: Path) -> Dict[str, Tuple[int, int, bytes]]:
    return {
        str(each.relative_to(folder)): (each.lstat().st_mode, each.lstat().st_uid, _content(each))
        for each in folder.rglob("*")
    }


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink() if sys.version_info >= (3, 9) else os.readlink(str(path)))
    if path.is_dir():
        return b""
    if path.name == PAGE:  # holds the numbers of inodes
        return b"%d" % path.stat().st_size
    data = path.read_bytes()
    return data[:4] + data[8:] if path.suffix == ".gz" else data  # without the time


def normal(told: str, folder: Path) -> str:
    """Return what was said on stderr without what is different each time."""
    told = re.sub(r"[0-9-]{10} [0-9:]{8} \[[0-9]+ ", "[", told)
    return told.replace(str(folder), "")


def log(handler: Any, text: str, level: int = logging.INFO, name: str = "shop") -> None:
    """Log a text, and wait for what comes after a rotation."""
    look_at_everything(handler)
    now = dt.datetime(2021, 11, 22, 10, tzinfo=dt.timezone.utc).timestamp()
    about = {"msg": text, "levelno": level, "levelname": logging.getLevelName(level), "name": name}
    if level >= handler.level:  # a logger would ask
        handler.handle(logging.makeLogRecord({**about, "created": now, "msecs": 0}))
    handler.wait_for_upkeep()


class Stage:
    """Where the same thing is done with several handlers, each in a folder of its own."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._root, self._monkeypatch, self._capsys = root, monkeypatch, capsys
        self.now: Optional[float] = None

    def play(self, part: Callable[[Path], object]) -> Outcome:
        folder = Path(os.path.realpath(str(self._root))) / f"stage-{len(list(self._root.iterdir()))}"
        folder.mkdir()
        self._monkeypatch.chdir(folder)  # what is relative then has to stay where it is
        part(folder)
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return Outcome(leavings(folder), normal(captured.err, folder))

    def leave(self) -> None:
        """Go to another directory."""
        self._monkeypatch.chdir(self._root)


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield Stage(tmp_path, monkeypatch, capsys)
    monkeypatch.undo()
    time.tzset()


YEAR = 365 * 86_400

BY_SIZE: Dict[str, Case] = {
    "mode-w": given(mode="w"),
    "maxBytes": given(maxBytes="0.02 kB"),
    "backupCount": given(backupCount=1),
    "encoding": given(encoding="utf-16"),
    "debug": given(debug=True),
    "use_gzip": given(use_gzip=True),
    "owner-tuple": given(owner=(1, 1)),
    "owner-list": given(owner=["daemon", "daemon"]),
    "chmod": given(chmod=0o604),
    "umask": given(umask=0o057),
    "newline": given(newline="\r\n"),
    "terminator": given(terminator="|\n"),
    "unicode_error_policy": given(unicode_error_policy="replace"),
    "lock_file_directory": given(lock_file_directory="locks"),
    "keep_file_open": given(keep_file_open=False, debug=True),
    "errors": given(errors="backslashreplace"),
    "locking": given(locking="exclusive", debug=True),
    "header-text": given(header="# head"),
    "header-function": given(header=header),
    "max_age-text": given(max_age="1 day"),
    "max_age-delta": given(max_age=dt.timedelta(days=1)),
    "max_total_bytes": given(max_total_bytes="120 B"),
    "min_free_bytes": given(min_free_bytes=10**18),
    "current_link": given(current_link="current.log"),
    "on_rotate": given(on_rotate=note),
    "upkeep": given(on_rotate=note, upkeep="inline"),
    "escape_newlines": changed(
        lambda handler: handler.setFormatter(logging.Formatter("%(message)s\nlast")), escape_newlines=True
    ),
    "bz2": given(compression="bz2"),
    "xz": given(compression="xz"),
    "zstd": given(compression="zstd"),
    "lz4": given(compression="lz4"),
    "compression_level": given(compression="bz2", compression_level=1),
    "compression-command": given(compression={"command": ["tr", "a-z", "A-Z"], "extension": ".CAPS"}),
    "compression-object": given(compression=Capitals()),
    "then-maxBytes": changed(with_(maxBytes="0.02 kB")),
    "then-backupCount": changed(with_(backupCount=1)),
    "then-gzip": changed(with_(use_gzip=True)),
    "then-not-bz2": changed(with_(use_gzip=True), compression="bz2", compression_level=1),
    "then-no-gzip": changed(with_(use_gzip=False), use_gzip=True, chmod=0o604),
    "then-terminator": changed(with_(terminator="|\n")),
    "then-header": changed(with_(header=header)),
    "then-on_rotate": changed(with_(on_rotate=note)),
    "namer": changed(with_(namer=to_old)),
    "rotator": changed(with_(rotator=turn_around)),
    "level": changed(lambda handler: handler.setLevel("ERROR")),
    "formatter": formatted("%(levelname)s %(name)s %(message)s"),
    "formatter-style-brace": formatted("{levelname:>10} {message}", style="{"),
    "formatter-style-dollar": formatted("${levelname} $message", style="$"),
    "formatter-date": formatted("%(asctime)s %(message)s", datefmt="%H:%M"),
    "formatter-converter": changed(in_sydney),
    "formatter-own": changed(lambda handler: handler.setFormatter(Stars(3))),
    "filter": changed(lambda handler: handler.addFilter(logging.Filter("shop"))),
    "filter-object": changed(lambda handler: handler.addFilter(Only(logging.ERROR))),
    "filter-function": changed(lambda handler: handler.addFilter(not_of_the_till)),
    "filter-replaced": changed(replaced_filter),
    "subclass": Case({"every": 5, "word": "Over"}, kind=EveryFifth),
    "subclass-changed": Case({"every": 5, "word": "Over"}, with_(every=3), EveryFifth),
    "subclass-own-methods": Case({"word": "own"}, kind=OwnMethods),
    "subclass-own-state": Case({}, kind=OwnState),
}
HAS_DEFAULTS = sys.version_info >= (3, 10)  # `Formatter`
BY_SIZE["formatter-defaults"] = (
    formatted("%(who)s %(message)s", defaults={"who": "Ann"}) if HAS_DEFAULTS else Case({})
)


def play_by_size(folder: Path, case: Case, duplicate: Way, stage: Stage) -> None:
    plant(folder, {LIVE: b"from before\n", f"{LIVE}.1": b"long ago\n"})
    long_ago = time.time() - YEAR
    os.utime(folder / f"{LIVE}.1", (long_ago, long_ago))
    kind: Any = case.kind or ConcurrentRotatingFileHandler
    options: Dict[str, Any] = {"maxBytes": 50, "backupCount": 9, "encoding": "ascii", **case.arguments}
    original = kind(LIVE, **options)
    case.change(original)
    stage.leave()
    handler = duplicate(original)
    for number in range(30):
        level = logging.ERROR if number % 3 == 0 else logging.INFO
        log(handler, f"café {number}", level, "till" if number % 4 == 0 else "shop")
    handler.close()


@pytest.mark.parametrize("case", BY_SIZE.values(), ids=list(BY_SIZE))
def test_a_duplicate_writes_what_the_original_would(stage: Stage, case: Case) -> None:
    if "owner" in case.arguments and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    if case is BY_SIZE["formatter-defaults"] and not HAS_DEFAULTS:
        pytest.skip("Formatter takes no defaults")
    if case.arguments.get("compression") in ("zstd", "lz4"):
        pytest.importorskip({"zstd": "zstandard", "lz4": "lz4"}[case.arguments["compression"]])
    original, duplicate, ordinary = (
        stage.play(lambda folder: play_by_size(folder, played, way, stage))  # noqa: B023 - played at once
        for played, way in ((case, itself), (case, pickled), (Case({}), itself))
    )
    assert duplicate == original
    assert original != ordinary


def test_each_argument_has_a_case() -> None:
    arguments = set(inspect.signature(ConcurrentRotatingFileHandler).parameters)
    invisible = {"delay", "patience"}  # see `test_settings_that_leave_no_trace_travel`
    shown = {name for case in BY_SIZE.values() if case.kind is None for name in case.arguments}
    assert shown == arguments - {"filename"} - invisible


# --------------------------------------------------------------------- what the duplicate writes, by time

BY_TIME: Dict[str, Case] = {
    "when": given(when="M"),
    "when-weekday": given(when="W1"),
    "interval": given(interval=4),
    "backupCount": given(backupCount=1),
    "utc": given(utc=False),
    "atTime": given(when="MIDNIGHT", atTime=dt.time(2, 30)),
    "atTime-text": given(when="MIDNIGHT", atTime="03:30"),
    "maxBytes": given(maxBytes=10),
    "gzip": given(compression="bz2"),
    "max_age": given(max_age="5 hours"),
    "header": given(header=header),
    "errors": given(errors="backslashreplace"),
    "locking": given(locking="exclusive", debug=True),
    "then-interval": changed(with_(interval=4 * 3600)),
    "then-maxBytes": changed(with_(maxBytes=10)),
    "then-backupCount": changed(with_(backupCount=1)),
    "then-suffix": changed(with_(suffix="%Y%m%d-%H%M")),
    "then-when-and-atTime": changed(with_(when="MIDNIGHT", interval=86400, atTime=dt.time(2, 30))),
    "then-utc": changed(with_(utc=False)),
    "then-rolloverAt": changed(with_(rolloverAt=instant("10:20"))),
    "then-by-clh": changed(lambda handler: setattr(handler.clh, "maxBytes", 10)),
    "namer": changed(with_(namer=to_old)),
    "rotator": changed(with_(rotator=turn_around)),
    "formatter": formatted("%(levelname)s %(message)s"),
    "filter": changed(lambda handler: handler.addFilter(not_of_the_till)),
    "hook": Case({"suffix": "%Y%m%d", "when": "D"}, kind=Hooked),
    "own-rules": Case({"every": 1800, "when": "M", "backupCount": 1}, kind=OwnTime),
}


def play_by_time(folder: Path, case: Case, duplicate: Way, stage: Stage) -> None:
    now = [float(instant("10:00"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now[0])
        kind: Any = case.kind or ConcurrentTimedRotatingFileHandler
        options: Dict[str, Any] = {"when": "H", "utc": True, "backupCount": 4, "encoding": "ascii"}
        original = kind(LIVE, **{**options, **case.arguments})
        case.change(original)
        stage.leave()
        handler = duplicate(original)
        for day in ("2021-11-22", "2021-11-23"):
            for hour in ("10:10", "10:40", "11:30", "13:10", "18:00"):
                now[0] = instant(hour, day)
                log(handler, f"café {day} {hour}", name="till" if hour == "13:10" else "shop")
                # Whatever looks at the age of a file sees what our clock says.
                os.utime(folder / LIVE, (now[0], now[0]))
        handler.close()


@pytest.mark.parametrize("case", BY_TIME.values(), ids=list(BY_TIME))
def test_a_duplicate_rotates_when_the_original_would(stage: Stage, case: Case) -> None:
    original, duplicate, ordinary = (
        stage.play(lambda folder: play_by_time(folder, played, way, stage))  # noqa: B023 - played at once
        for played, way in ((case, itself), (case, pickled), (Case({}), itself))
    )
    assert duplicate == original
    assert original != ordinary


def test_each_argument_that_concerns_time_has_a_case() -> None:
    by_size = set(inspect.signature(ConcurrentRotatingFileHandler).parameters) - {"backupCount", "maxBytes"}
    arguments = set(inspect.signature(ConcurrentTimedRotatingFileHandler).parameters)
    shown = {name for case in BY_TIME.values() if case.kind is None for name in case.arguments}
    assert arguments - by_size - {"kwargs"} <= shown


def test_a_duplicate_that_arrives_late_keeps_to_what_was_agreed_on_meanwhile(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [float(instant("10:10"))]
    monkeypatch.setattr(time, "time", lambda: now[0])
    original = ConcurrentTimedRotatingFileHandler(str(live), when="H", utc=True)
    parcel = pickle.dumps(original)
    log(original, "10:10")
    now[0] = instant("11:10")
    log(original, "11:10")
    now[0] = instant("11:20")
    late = pickle.loads(parcel)  # noqa: S301 - it is ours
    log(late, "11:20")
    log(original, "11:20 too")
    now[0] = instant("12:20")
    log(late, "12:20")
    for handler in (original, late):
        handler.close()
    assert {each.name: each.read_bytes() for each in live.parent.glob(LIVE + "*")} == {
        LIVE: b"12:20\n",
        "app.log.2021-11-22_11": b"11:10\n11:20\n11:20 too\n",
        "app.log.2021-11-22_10": b"10:10\n",
    }


def test_a_duplicate_that_arrives_overdue_rotates_with_its_first_record(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [float(instant("10:10"))]
    monkeypatch.setattr(time, "time", lambda: now[0])
    original = ConcurrentTimedRotatingFileHandler(str(live), when="H", utc=True)
    log(original, "10:10")
    os.utime(live, (now[0], now[0]))
    original.close()
    parcel = pickle.dumps(original)
    now[0] = instant("11:10")
    late = pickle.loads(parcel)  # noqa: S301 - it is ours
    assert sorted(each.name for each in live.parent.glob(LIVE + "*")) == [LIVE]
    log(late, "11:10")
    late.close()
    assert {each.name: each.read_bytes() for each in live.parent.glob(LIVE + "*")} == {
        LIVE: b"11:10\n",
        "app.log.2021-11-22_10": b"10:10\n",
    }


# -------------------------------------------------------------------------------------------- attributes

PUBLIC = {"baseFilename", "lockFilename", "mode", "encoding", "errors", "delay", "terminator", "newline"}
PUBLIC |= {"unicode_error_policy", "owner", "chmod", "umask", "keep_file_open", "header", "maxBytes", "name"}
PUBLIC |= {"backupCount", "use_gzip", "on_rotate", "level", "filters", "namer", "rotator"}
OF_TIME = {"when", "interval", "utc", "atTime", "suffix", "extMatch", "rolloverAt", "dayOfWeek"}


def ornate(kind: Type[Handler], live: Path) -> Handler:
    """Return a handler of which nothing is as it is by default."""
    options: Dict[str, Any] = {
        "maxBytes": "1 kB",
        "backupCount": 17,
        "encoding": "latin-1",
        "debug": False,
        "owner": [os.getuid(), os.getgid()],
        "chmod": 0o600,
        "umask": 0o022,
        "newline": "\r\n",
        "terminator": "\n\n",
        "unicode_error_policy": "strict",
        "lock_file_directory": str(live.parent / "locks"),
        "keep_file_open": False,
        "errors": "xmlcharrefreplace",
        "locking": "exclusive",
        "patience": 0.75,
        "header": header,
        "max_age": "3 weeks",
        "max_total_bytes": "1 GB",
        "min_free_bytes": 1,
        "current_link": "now.log",
        "on_rotate": note,
        "compression": "xz",
        "compression_level": 1,
        "upkeep": "inline",
        "escape_newlines": True,
    }
    of_time: Dict[str, Any] = {"when": "W2", "interval": 3, "utc": True, "atTime": "12:34:56"}
    timed = issubclass(kind, ConcurrentTimedRotatingFileHandler)
    handler = kind(str(live), **options, **(of_time if timed else {"mode": "w"}))
    handler.setLevel("WARNING")
    handler.name = "ornate"
    handler.namer, handler.rotator = to_old, turn_around
    handler.setFormatter(Stars(2))
    handler.addFilter(not_of_the_till)
    return handler


@each_way
@both_kinds
def test_attributes_travel(live: Path, kind: Type[Handler], duplicate: Way) -> None:
    original = ornate(kind, live)
    handler = duplicate(original)
    names = PUBLIC | (OF_TIME if isinstance(original, ConcurrentTimedRotatingFileHandler) else set())
    assert type(handler) is kind
    assert {name: getattr(handler, name) for name in names} == {
        name: getattr(original, name) for name in names
    }
    assert isinstance(handler.formatter, Stars)
    assert handler.formatter.count == 2
    for each in (original, handler):
        each.close()


@by_pickle_and_copy
@both_kinds
def test_settings_that_leave_no_trace_travel(live: Path, kind: Type[Handler], duplicate: Way) -> None:
    original = ornate(kind, live)
    handler = duplicate(original)
    assert handler._log.settings == original._log.settings
    assert handler._log.settings.patience == 0.75
    assert handler.delay is original.delay
    for each in (original, handler):
        each.close()


@pytest.mark.parametrize(
    "kind", [ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler], ids=["size", "time"]
)
@pytest.mark.parametrize(
    "name",
    ["settings", "over", "debug", "rollover_at", "state", "compression", "patience", "lock_file_directory"],
)
def test_attributes_of_the_users_own_travel_whatever_they_are_called(
    live: Path, kind: Type[Handler], name: str
) -> None:
    original = kind(str(live), maxBytes=123)
    setattr(original, name, {"the": "user's"})
    handler = pickled(original)
    assert getattr(handler, name) == {"the": "user's"}
    assert handler.maxBytes == 123
    log(handler, "text")
    for each in (original, handler):
        each.close()
    assert live.read_bytes() == b"text\n"


@both_kinds
@pytest.mark.parametrize("duplicate", [pickled, copy.deepcopy])
def test_what_is_changed_on_one_is_not_changed_on_the_other(
    live: Path, kind: Type[Handler], duplicate: Way
) -> None:
    original = kind(str(live), maxBytes=100)
    handler = duplicate(original)
    handler.maxBytes = 200
    handler.setLevel("ERROR")
    handler.addFilter(not_of_the_till)
    handler.terminator = "|"
    assert (original.maxBytes, original.level, original.filters, original.terminator) == (100, 0, [], "\n")
    for each in (original, handler):
        each.close()


def refusal(thing: object) -> Any:
    with pytest.raises((AttributeError, pickle.PicklingError)) as raised:
        pickle.dumps(thing)
    return raised.type, str(raised.value)


def test_what_cannot_be_pickled_is_told_in_the_words_of_pickle(live: Path) -> None:
    handler = ConcurrentRotatingFileHandler(str(live))
    namer = handler.namer = lambda default: default + ".old"
    assert refusal(handler) == refusal(namer)
    log(handler, "it goes on")
    handler.close()
    assert live.read_bytes() == b"it goes on\n"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_lambda_can_be_copied(live: Path, duplicate: Way) -> None:
    original = ConcurrentRotatingFileHandler(str(live), maxBytes=1, backupCount=2)
    original.namer = lambda default: default + ".old"
    handler = duplicate(original)
    log(handler, "one")
    log(handler, "two")
    handler.close()
    assert (live.parent / "app.log.1.old").read_bytes() == b"one\n"


def configure_and_send(connection: Connection, live: Path, arguments: Dict[str, Any]) -> None:
    handlers: Dict[str, Any] = {
        "file": {
            "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
            "filename": str(live),
            "formatter": "plain",
            "filters": ["shop"],
            "maxBytes": "1 B",
            "backupCount": 9,
            **arguments,
        },
        # What the configuration holds beside it is not to be sent, and could not be.
        "screen": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
    }
    dictionary: Dict[str, Any] = {
        "version": 1,
        "filters": {"shop": {"name": "shop"}},
        "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
        "handlers": handlers,
        "root": {"handlers": ["file", "screen"]},
    }
    logging.config.dictConfig(dictionary)
    connection.send(pickle.dumps(logging.getLogger().handlers[0]))


OF_DICTIONARIES: Dict[str, Dict[str, Any]] = {
    "compression": {"compression": {"command": ["tr", "a-z", "A-Z"], "extension": ".CAPS", "timeout": 20}},
    "command-tuple": {"compression": {"command": ("tr", "a-z", "A-Z"), "extension": ".CAPS"}},
    "owner-list": {"owner": [os.getuid(), os.getgid()]},
    "owner-tuple": {"owner": (os.getuid(), os.getgid())},
    "attribute-mapping": {".": {"about": {"place": ["a", ("b", {"c": 1})]}}},
}


@pytest.mark.parametrize("arguments", OF_DICTIONARIES.values(), ids=list(OF_DICTIONARIES))
def test_a_handler_of_a_dictionary_travels_without_the_dictionary(
    live: Path, children: Children, arguments: Dict[str, Any]
) -> None:
    parcel = children.start(configure_and_send, live, arguments).answer()
    assert b"logging.config" not in parcel
    handler = pickle.loads(parcel)  # noqa: S301 - it is ours
    for number in range(3):
        log(handler, f"number {number}")
    log(handler, "not of the shop", name="till")
    handler.close()
    capital = "compression" in arguments
    old = {f"{LIVE}.1": b"INFO number 1\n", f"{LIVE}.2": b"INFO number 0\n"}
    if capital:
        old = {name + ".CAPS": text.upper() for name, text in old.items()}
    assert contents(live.parent) == {**old, LIVE: b"INFO number 2\n"}
    attributes = arguments.get(".", {})
    assert {name: getattr(handler, name) for name in attributes} == attributes


# --------------------------------------------------------------------------------------- files and names


@looks_at_open_files
@pytest.mark.parametrize("stands", [False, True], ids=["empty", "in-use"])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ConcurrentRotatingFileHandler, {}),
        (ConcurrentRotatingFileHandler, {"mode": "w"}),
        (ConcurrentRotatingFileHandler, {"mode": "x"}),
        (ConcurrentRotatingFileHandler, {"current_link": "now.log", "debug": True}),
        (ConcurrentTimedRotatingFileHandler, {}),
        (ConcurrentTimedRotatingFileHandler, {"locking": "exclusive"}),
    ],
)
@by_pickle_and_copy
def test_nothing_is_opened_or_made_before_the_first_record(
    live: Path, kind: Type[Handler], arguments: Dict[str, Any], stands: bool, duplicate: Way
) -> None:
    original = kind(str(live), **arguments)
    if stands:
        log(original, "text")
    else:
        for each in live.parent.iterdir():  # the time of the next rollover is noted at once
            each.unlink()

    def now() -> Any:
        # The descriptor that does the listing is among them, under the same number each time.
        return leavings(live.parent), sorted(Path("/proc/self/fd").iterdir()), threading.enumerate()

    before = now()
    handler = duplicate(original)
    assert now() == before
    handler.close()
    assert now() == before
    original.close()


def test_a_directory_for_locks_is_not_made_before_the_first_record(live: Path) -> None:
    locks = live.parent / "locks"
    original = ConcurrentRotatingFileHandler(str(live), lock_file_directory=str(locks))
    locks.rmdir()
    pickled(original).close()
    assert list(live.parent.iterdir()) == []


@both_kinds
def test_a_duplicate_arrives_where_the_directory_is_still_to_be_made(
    tmp_path: Path, kind: Type[Watched]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    parcel = pickle.dumps(kind(str(folder / LIVE)))
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    handler = pickle.loads(parcel)  # noqa: S301 - it is ours
    folder.mkdir()
    said = Scribe(handler, 1).log(2)
    handler.close()
    assert (said.failures, said.reports) == ((), ())
    assert (folder / LIVE).read_text() == even(1, 1) + "\n" + even(1, 2) + "\n"


@looks_at_open_files
@by_pickle_and_copy
@both_kinds
def test_a_closed_handler_can_be_duplicated_and_so_can_an_open_one(
    live: Path, kind: Type[Watched], duplicate: Way
) -> None:
    original = kind(str(live))
    scribe = Scribe(original, 1)
    for turn in range(1, 4):
        scribe.log()
        held = open_files(live.parent)
        assert held
        while_open = duplicate(original)
        assert open_files(live.parent) == held
        original.close()
        while_closed = duplicate(original)
        for number, handler in ((turn * 2, while_open), (turn * 2 + 1, while_closed)):
            other = Scribe(handler, number)
            other.log(2)
            handler.close()
            assert (handler.failures, handler.reports) == ([], [])
        assert open_files(live.parent) == set()
    text = live.read_text().splitlines()
    assert text == [
        even(writer, number)
        for turn in range(1, 4)
        for writer, number in ((1, turn), (turn * 2, 1), (turn * 2, 2), (turn * 2 + 1, 1), (turn * 2 + 1, 2))
    ]


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="PyPy collects when it likes")
@looks_at_open_files
@by_pickle_and_copy
@both_modes
@both_kinds
def test_a_duplicate_that_is_forgotten_leaves_no_file_open(
    live: Path, kind: Type[Watched], locking: str, duplicate: Way
) -> None:
    original = kind(str(live), locking=locking)
    handler = duplicate(original)
    Scribe(handler, 1).log()
    assert open_files(live.parent)
    del handler
    gc.collect()
    assert open_files(live.parent) == set()
    original.close()


def handler_by_name(name: str) -> Any:
    if sys.version_info >= (3, 12):
        return logging.getHandlerByName(name)
    return logging._handlers.get(name)  # type: ignore[attr-defined]


@by_pickle_and_copy
@both_kinds
def test_the_original_keeps_its_name(live: Path, kind: Type[Handler], duplicate: Way) -> None:
    original = kind(str(live))
    original.name = "the original"
    handler = duplicate(original)
    assert (handler.name, handler_by_name("the original")) == ("the original", original)
    handler.close()
    assert handler_by_name("the original") is original
    another = duplicate(original)
    another.name = "the copy"
    assert (handler_by_name("the original"), handler_by_name("the copy")) == (original, another)
    another.close()
    assert (handler_by_name("the original"), handler_by_name("the copy")) == (original, None)
    original.close()
    assert handler_by_name("the original") is None


def test_a_duplicate_takes_a_name_that_nobody_has(live: Path) -> None:
    original = ConcurrentRotatingFileHandler(str(live))
    original.name = "the name"
    parcel = pickle.dumps(original)
    original.close()
    handler = pickle.loads(parcel)  # noqa: S301 - it is ours
    assert handler_by_name("the name") is handler
    handler.close()
    assert handler_by_name("the name") is None


def arrive_without_the_codec(connection: Connection, parcel: bytes) -> None:
    vars(sys)["modules"]["bz2"] = None  # a Python that was built without it
    before = list(vars(logging)["_handlerList"])
    try:
        pickle.loads(parcel)  # noqa: S301 - it is ours
    except ValueError as error:
        kept = error  # with its traceback, and so with the handler that has come to nothing
        added = [each for each in vars(logging)["_handlerList"] if each not in before]
        logging.shutdown(added)
        connection.send((str(kept), len(added)))


@both_kinds
def test_a_handler_that_cannot_arrive_is_none_that_logging_has_to_close(
    live: Path, children: Children, kind: Type[Handler]
) -> None:
    parcel = pickle.dumps(kind(str(live), compression="bz2"))
    reason = "compression='bz2' is not allowed: this Python has been built without it"
    assert children.start(arrive_without_the_codec, parcel).answer() == (reason, 0)


def shut_down(connection: Connection, parcel: bytes, folder: Path) -> None:
    handler = pickle.loads(parcel)  # noqa: S301 - it is ours
    log(handler, "one")
    held = bool(open_files(folder))
    logging.shutdown()
    connection.send((held, open_files(folder)))


@looks_at_open_files
@both_kinds
def test_a_duplicate_is_closed_at_the_end_of_the_program(
    live: Path, children: Children, kind: Type[Handler]
) -> None:
    parcel = pickle.dumps(kind(str(live)))
    assert children.start(shut_down, parcel, live.parent).answer() == (True, set())


# ------------------------------------------------------------------------------------- several on one log


@by_pickle_and_copy
@both_modes
@both_kinds
def test_original_and_duplicate_write_in_turn(
    live: Path, kind: Type[Watched], locking: str, duplicate: Way
) -> None:
    original = kind(str(live), maxBytes=5 * EVEN, backupCount=1000, locking=locking)
    scribe = Scribe(original, 1)
    scribe.log()
    handler = duplicate(original)
    grandchild = duplicate(handler)
    handlers = [original, handler, grandchild]
    for turn in range(60):
        scribe.handler = handlers[turn % 3]
        scribe.log()
    for each in handlers:
        each.close()
        assert (each.failures, each.reports) == ([], [])
    files = {name: text for name, text in leavings(live.parent).items() if name.startswith(LIVE)}
    ordered = sorted(files, key=lambda name: (name == LIVE, -_age(name)), reverse=False)
    if kind is WatchedTimedHandler:
        ordered = sorted(files, key=lambda name: (name == LIVE, _age(name)))
    text = b"".join(files[name][2] for name in ordered)
    assert text.decode().splitlines() == [even(1, number) for number in range(1, 62)]
    assert min(len(files[name][2]) for name in ordered[:-1]) >= 5 * EVEN


def _age(name: str) -> int:
    found = re.search(r"\.([0-9]+)$", name)
    return int(found.group(1)) if found else 0


@both_modes
@both_kinds
def test_a_handler_is_duplicated_while_threads_log_through_it(
    live: Path, kind: Type[Watched], locking: str
) -> None:
    original = kind(str(live), maxBytes=50 * EVEN, backupCount=10_000, locking=locking)
    done = threading.Event()
    scribes = [Scribe(original, number) for number in (1, 2, 3)]

    def go_on_logging(scribe: Scribe) -> None:
        while not done.is_set():
            scribe.log()

    threads = [threading.Thread(target=go_on_logging, args=(scribe,), daemon=True) for scribe in scribes]
    for thread in threads:
        thread.start()
    for number in range(4, 40):
        handler = pickled(original)
        other = Scribe(handler, number)
        other.log(5)
        handler.close()
        scribes.append(other)
    done.set()
    for thread in threads:
        thread.join(LONG)
    original.close()
    said = [scribe.said() for scribe in scribes]
    assert {(each.failures, each.reports) for each in said} == {((), ())}
    found: Dict[str, int] = {}
    for name, (_, _, data) in leavings(live.parent).items():
        if name.startswith(LIVE):
            for text in data.decode().splitlines():
                found[text] = found.get(text, 0) + 1
    assert found == {
        even(each.account.writer, number): 1 for each in said for number in range(1, each.account.records + 1)
    }


def test_duplicating_does_not_wait_for_who_logs_or_holds_the_lock(live: Path) -> None:
    original = WatchedHandler(str(live))
    Scribe(original, 1).log()
    copies: List[Watched] = []
    original.acquire()
    try:
        copies.append(pickled(original))
        thread = threading.Thread(target=lambda: copies.append(pickled(original)), daemon=True)
        thread.start()
        thread.join(LONG)
        assert len(copies) == 2
        for number, handler in enumerate(copies, 2):
            Scribe(handler, number).log()
            handler.close()
    finally:
        original.release()
    original.close()
    assert live.read_text().splitlines() == [even(writer, 1) for writer in (1, 2, 3)]


def duplicate_in_a_rotation(connection: Connection, live: Path, locking: str, point: str) -> None:
    allow_interrupt_before_the_first()
    original = WatchedHandler(str(live), maxBytes=4 * EVEN, backupCount=1000, locking=locking)
    parcels: List[bytes] = []
    original.interrupts[point] = lambda: parcels.append(pickle.dumps(original))
    scribe = Scribe(original, 1)
    scribe.log(5)
    copied = pickle.loads(parcels[0])  # noqa: S301 - it is ours
    other = Scribe(copied, 2)
    for _ in range(10):
        other.log()
        scribe.log()
    for handler in (original, copied):
        handler.close()
    connection.send([scribe.said(), other.said()])


@both_modes
@pytest.mark.parametrize("point", POINTS)
def test_a_handler_is_duplicated_in_the_middle_of_its_rotation(
    live: Path, children: Children, locking: str, point: str
) -> None:
    said = children.start(duplicate_in_a_rotation, live, locking, point).answer()
    assert [(each.failures, each.reports) for each in said] == [((), ())] * 2
    assert_every_record_once(live, [each.account for each in said], even, 4 * EVEN)


# ------------------------------------------------------------------------------------------- mode w and x


@by_pickle_and_copy
@both_modes
@pytest.mark.parametrize("first", [0, 1, 2], ids=["original", "copy", "copy-of-copy"])
def test_what_stood_there_is_discarded_once_for_all_duplicates(
    live: Path, locking: str, duplicate: Way, first: int
) -> None:
    plant(live.parent, {LIVE: b"from before\n"})
    original = WatchedHandler(str(live), mode="w", locking=locking)
    handlers = [original, duplicate(original)]
    handlers.append(duplicate(handlers[1]))
    order = [first, *(number for number in range(3) if number != first)]
    for number in order:
        Scribe(handlers[number], number + 1).log()
    handlers.append(duplicate(handlers[first]))  # of one that has logged
    Scribe(handlers[3], 4).log()
    for handler in handlers:
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    expected = "".join(even(number + 1, 1) + "\n" for number in [*order, 3])
    assert contents(live.parent) == {LIVE: expected.encode()}


@by_pickle_and_copy
def test_what_came_after_the_original_was_made_is_not_discarded_by_a_duplicate(
    live: Path, duplicate: Way
) -> None:
    original = WatchedHandler(str(live), mode="w")
    live.write_bytes(b"of somebody else\n")
    handler = duplicate(original)
    Scribe(handler, 1).log()
    for each in (handler, original):
        each.close()
    assert live.read_text() == "of somebody else\n" + even(1, 1) + "\n"


@both_modes
def test_what_a_duplicate_logs_while_the_original_is_just_discarding_is_not_discarded(
    live: Path, monkeypatch: pytest.MonkeyPatch, locking: str
) -> None:
    plant(live.parent, {LIVE: b"from before\n"})
    original = WatchedHandler(str(live), mode="w", locking=locking)
    files = original._log.files
    handlers: List[Watched] = [original]

    def duplicate_first() -> None:
        handlers.append(pickled(original))
        Scribe(handlers[1], 2).log()

    # What a handler waits for that discards, before it takes the lock.
    monkeypatch.setattr(files, "wait_until_page_is_old_enough", duplicate_first)
    Scribe(original, 1).log()
    for handler in handlers:
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    assert len(handlers) == 2
    assert contents(live.parent) == {LIVE: f"{even(2, 1)}\n{even(1, 1)}\n".encode()}


@by_pickle_and_copy
def test_a_duplicate_goes_on_with_the_file_that_was_to_be_new(live: Path, duplicate: Way) -> None:
    original = WatchedHandler(str(live), mode="x")
    early = duplicate(original)
    Scribe(original, 1).log()
    late = duplicate(original)
    for number, handler in enumerate((early, late), 2):
        Scribe(handler, number).log()
    for handler in (original, early, late):
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    assert live.read_text().splitlines() == [even(writer, 1) for writer in (1, 2, 3)]
