"""A process configures its logging anew, by `dictConfig`, while others go on with the same log."""

import functools
import gc
import gzip
import logging
import logging.config
import os
import threading
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from concurrent_log_handler.cli.reckoning import Account, Reckoning, reckon
from support.children import LONG, Child, Children, Writer
from support.folder import HELPERS, LIVE, LOCK, PAGE, plant
from support.records import EVEN, even
from support.writers import Watched, WatchedHandler

MINE = 1
MANY = 100_000
BURST = 100
OLD: Dict[str, Any] = {"maxBytes": 20 * EVEN, "backupCount": MANY}

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
TIMES = 25
"""How often one process is configured anew."""
looks_at_open_files = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")


def open_files(folder: Path) -> List[str]:
    """Return the names of a log's files that this process has open, each as often as it is open."""
    targets = [os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
    return sorted(os.path.basename(each) for each in targets if each.startswith(f"{folder}{os.sep}"))  # noqa: PTH119


def dictionary(live: Path, form: str = "%(message)s", **arguments: Any) -> Dict[str, Any]:
    handler = {"class": "support.writers.WatchedHandler", "path": str(live), "formatter": "plain"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": form}},
        "handlers": {"file": {**handler, **arguments}},
        "root": {"level": "INFO", "handlers": ["file"]},
    }


def by_time(live: Path, **arguments: Any) -> Dict[str, Any]:
    config = dictionary(live, **arguments)
    config["handlers"]["file"].update({"class": "support.writers.WatchedTimedHandler", "when": "D"})
    return config


class Program:
    """What the process does that configures its logging."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.logged = 0
        self.handlers: List[Watched] = []

    def configure(self, config: Dict[str, Any]) -> None:
        logging.config.dictConfig(config)
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, Watched)
        assert handler not in self.handlers
        self.handlers.append(handler)

    def log(self, count: int = 1) -> None:
        for _ in range(count):
            self.logged += 1
            logging.getLogger("program").info(even(self.number, self.logged))

    def complaints(self) -> List[Tuple[List[str], List[str]]]:
        return [(each.failures, each.reports) for each in self.handlers if each.failures or each.reports]


def serve(connection: Connection, live: Path, number: int = MINE) -> None:
    """Configure with each dictionary that comes, and log: before, when told to, and after it."""
    program = Program(number)
    while True:
        config, count = connection.recv()
        if config is not None:
            program.configure(config)
        program.log(count)
        if count == 0 and config is None:
            break
        connection.send(None)
    logging.shutdown()
    gc.collect()  # for PyPy
    connection.send((program.logged, program.complaints(), open_files(live.parent)))


def others(children: Children, live: Path, **options: Any) -> List[Writer]:
    """Start two processes with the settings that all had before."""
    make = functools.partial(WatchedHandler, str(live), **{**OLD, **options})
    return [children.writer(make, number) for number in (2, 3)]


def tell(program: Child, config: Any, count: int) -> Any:
    program.tell((config, count))
    return program.answer()


def unpack(folder: Path) -> None:
    """Put each old file in the place of the compressed one."""
    for each in folder.glob(f"{LIVE}.*.gz"):
        plain = each.with_suffix("")
        assert not plain.exists()
        plain.write_bytes(gzip.decompress(each.read_bytes()))
        each.unlink()


NEW: Dict[str, Dict[str, Any]] = {
    "larger": {"maxBytes": 50 * EVEN},
    "smaller": {"maxBytes": "0.5 kB"},
    "fewer": {"backupCount": MANY - 1},
    "exclusive": {"locking": "exclusive"},
    "compressed": {"use_gzip": True},
    "limited": {"max_total_bytes": "1 GB", "max_age": "7 days"},
    "no-file-kept-open": {"keep_file_open": False},
}


@pytest.mark.parametrize("new", NEW.values(), ids=list(NEW))
@looks_at_open_files
def test_nothing_is_lost_when_one_of_three_processes_changes_its_settings(
    live: Path, children: Children, new: Dict[str, Any]
) -> None:
    writers = others(children, live)
    program = children.start(serve, live)
    tell(program, dictionary(live, **OLD), BURST)
    for turn in range(6):
        for writer in writers:
            writer.tell(BURST)  # at the same time as what comes now
        config = dictionary(live, **{**OLD, **(new if turn % 2 == 0 else {})})
        tell(program, config, BURST)
        for writer in writers:
            writer.said()
    said = [writer.end() for writer in writers]
    assert [(each.failures, each.reports) for each in said] == [((), ())] * 2
    program.tell((None, 0))
    logged, complaints, held = program.answer()
    assert (logged, complaints, held) == (7 * BURST, [], [])
    tidy = WatchedHandler(str(live), **{**OLD, **new})
    assert tidy.wait_for_upkeep(60)
    tidy.close()
    unpack(live.parent)
    found = reckon(live, [Account(MINE, logged), *(each.account for each in said)])
    records = logged + 2 * 6 * BURST
    assert found == Reckoning(records, records, records * EVEN, found.files, found.files - 1)
    assert found.backups > 0


def test_nothing_is_lost_by_time_either(live: Path, children: Children) -> None:
    program, other = (children.start(serve, live, number) for number in (MINE, 2))
    for turn in range(6):
        other.tell((by_time(live, **OLD) if turn == 0 else None, BURST))
        tell(program, by_time(live, maxBytes=(10 + 10 * turn) * EVEN, backupCount=MANY), BURST)
        other.answer()
    for each in (program, other):
        each.tell((None, 0))
        assert each.answer() == (6 * BURST, [], [])
    names = {each.name for each in live.parent.iterdir()} - HELPERS
    assert len(names) > 10  # by size, within a day or two
    assert records(live.parent) == {
        even(number, each): 1 for number in (MINE, 2) for each in range(1, 6 * BURST + 1)
    }


def records(folder: Path) -> Dict[str, int]:
    """Return how often each line is in the files of a log."""
    found: Dict[str, int] = {}
    for path in folder.glob(f"{LIVE}*"):
        for text in path.read_text(encoding="utf-8").splitlines():
            found[text] = found.get(text, 0) + 1
    return found


def go_on_by_the_old_one(connection: Connection, live: Path, locking: str) -> None:
    """Have threads log by handlers that are closed meanwhile, as whoever has kept one does."""
    program = Program(MINE)
    arguments = {**OLD, "locking": locking}
    program.configure(dictionary(live, **arguments))
    old = program.handlers[0]
    reached, done = threading.Event(), threading.Event()
    logged = [0, 0]

    def keep_logging(index: int) -> None:
        while not done.is_set():
            logged[index] += 1
            old.handle(logging.makeLogRecord({"msg": even(2 + index, logged[index])}))
            if logged[index] == BURST:
                reached.set()

    threads = [threading.Thread(target=keep_logging, args=(index,), daemon=True) for index in (0, 1)]
    for thread in threads:
        thread.start()
    reached.wait(LONG)
    for _ in range(20):
        program.configure(dictionary(live, **arguments))
        program.log(10)
        old.close()
    done.set()
    for thread in threads:
        thread.join(LONG)
    logging.shutdown()
    old.close()
    accounts = [Account(MINE, program.logged), Account(2, logged[0]), Account(3, logged[1])]
    connection.send((accounts, program.complaints(), open_files(live.parent)))


@both_modes
@looks_at_open_files
def test_nothing_is_lost_by_who_goes_on_with_the_handler_that_was_closed(
    live: Path, children: Children, locking: str
) -> None:
    accounts, complaints, held = children.start(go_on_by_the_old_one, live, locking).answer()
    assert (complaints, held) == ([], [])
    found = reckon(live, accounts)
    count = sum(each.records for each in accounts)
    assert found == Reckoning(count, count, count * EVEN, found.files, found.files - 1)


def change_the_form(connection: Connection, live: Path) -> None:
    program = Program(MINE)
    for form in ("%(message)s", "%(levelname)s %(message)s", "{levelname}"):
        config = dictionary(live, form)
        config["formatters"]["plain"]["style"] = form[0]
        program.configure(config)
        program.log()
    connection.send(program.complaints())


def test_a_new_format_is_that_of_the_next_record(live: Path, children: Children) -> None:
    assert children.start(change_the_form, live).answer() == []
    assert live.read_text(encoding="utf-8") == f"{even(MINE, 1)}\nINFO {even(MINE, 2)}\nINFO\n"


def configure_often(connection: Connection, live: Path, arguments: Dict[str, Any]) -> None:
    """Tell after each time how many files are open, of all and of the log, how many threads and handlers there are."""
    logging.getLogger().handlers.clear()
    seen: List[Any] = []
    handlers: Any = weakref.WeakSet()
    for number in range(1, TIMES + 1):
        logging.config.dictConfig(dictionary(live, **arguments))
        (handler,) = logging.getLogger().handlers
        handlers.add(handler)
        logging.getLogger("program").info(even(MINE, number))
        assert handler.wait_for_upkeep(60)  # type: ignore[attr-defined]
        del handler
        gc.collect()
        count = len(list(Path("/proc/self/fd").iterdir()))
        seen.append((count, len(open_files(live.parent)), threading.active_count(), len(handlers)))
    logging.shutdown()
    connection.send((seen, open_files(live.parent)))


@looks_at_open_files
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"maxBytes": EVEN, "backupCount": 100},
        {"maxBytes": EVEN, "backupCount": 100, "use_gzip": True},
        {"maxBytes": EVEN, "backupCount": 100, "locking": "exclusive"},
        {"class": "support.writers.WatchedTimedHandler", "when": "D"},
    ],
    ids=["plain", "rotating", "compressing", "exclusive", "timed"],
)
def test_many_configurations_leave_nothing_behind(
    live: Path, children: Children, arguments: Dict[str, Any]
) -> None:
    seen, at_the_end = children.start(configure_often, live, arguments).answer()
    assert [each for each in seen if each != seen[0]] == []
    assert seen[0][1:] == (len([LIVE, LOCK, PAGE]), 1, 1)
    assert at_the_end == []
    unpack(live.parent)
    assert records(live.parent) == {even(MINE, number): 1 for number in range(1, TIMES + 1)}


def configure_wrongly(connection: Connection, live: Path, wrong: Dict[str, Any]) -> None:
    """Tell what comes of a wrong value, and log before and after it."""
    program = Program(MINE)
    program.configure(dictionary(live, **OLD))
    program.log(BURST)
    connection.send(None)
    connection.recv()
    try:
        logging.config.dictConfig(dictionary(live, **{**OLD, **wrong}))
    except ValueError as error:
        connection.send(str(error.__context__))
    program.log(BURST)
    known = [reference() for reference in vars(logging)["_handlerList"]]
    half_made = [each for each in known if isinstance(each, Watched) and each not in program.handlers]
    connection.send((program.logged, program.complaints(), len(half_made)))
    program.configure(dictionary(live, **OLD))
    program.log(BURST)
    logging.shutdown()
    complaints = program.complaints()
    # `logging` has forgotten the old one, and closes it no more: its files are closed when nobody has it any more.
    program.handlers.clear()
    for _ in range(5):  # PyPy takes one turn for each finalizer in a chain
        gc.collect()
    connection.send((program.logged, complaints, open_files(live.parent)))


@looks_at_open_files
@pytest.mark.parametrize(
    "wrong",
    [
        {"maxBytes": "ten MB"},
        {"backupCount": -1},
        {"compression": "zip"},
        {"max_age": "soon"},
        {"locking": "maybe"},
        {"mode": "r"},
    ],
    ids=repr,
)
def test_a_wrong_value_is_named_and_stops_nobody(
    live: Path, children: Children, wrong: Dict[str, Any]
) -> None:
    plant(live.parent, {f"{LIVE}.1": b"".join(even(9, each).encode() + b"\n" for each in range(1, 21))})
    writers = others(children, live)
    program = children.start(configure_wrongly, live, wrong)
    program.answer()
    for writer in writers:
        writer.tell(5 * BURST)
    program.tell(None)
    ((name, value),) = wrong.items()
    assert program.answer().startswith(f"{name}={value!r} is not allowed: must be ")
    # `dictConfig` has closed the old handler by then; it is still in its place, and opens its files again.
    assert program.answer() == (2 * BURST, [], 0)
    logged, complaints, held = program.answer()
    assert (logged, complaints, held) == (3 * BURST, [], [])
    said = [writer.said() for writer in writers]
    assert [(each.failures, each.reports) for each in said] == [((), ())] * 2
    for writer in writers:
        writer.end()
    found = reckon(live, [Account(MINE, logged), Account(9, 20), *(each.account for each in said)])
    count = logged + 20 + 2 * 5 * BURST
    assert found == Reckoning(count, count, count * EVEN, found.files, found.files - 1)
