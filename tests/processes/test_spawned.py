"""A handler that is sent to processes, however they are made: every record of each is there once, in its order.

Meanwhile the log rotates and is compressed.
"""

import gzip
import itertools
import logging
import logging.handlers
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple, Union

import pytest

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
from support.folder import HELPERS, LIVE

# Since Python 3.12; the upkeep has threads, and that a process with threads may be forked is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FULL = 3_000
RECORDS = 60
DOTS = "." * 70
LINE = re.compile(r"<(?P<pid>[0-9]+)> (?P<number>[0-9]+) \.{70}")
HEAD = "# by the shop\n"

Handler = Union[ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler]
Found = Dict[int, List[int]]

each_method = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
each_method_that_pickles = pytest.mark.parametrize("method", ["spawn", "forkserver"])


class Angular(logging.Formatter):
    """A formatter of the user's, with a state."""

    def __init__(self, brackets: str) -> None:
        super().__init__("%(process)d")
        self.brackets = brackets

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.brackets[0]}{super().format(record)}{self.brackets[1]} {record.getMessage()}"


def head() -> str:
    return HEAD


def by_size(live: Path, **options: Any) -> Handler:
    return ConcurrentRotatingFileHandler(str(live), backupCount=100_000, **options)


def by_time(live: Path, **options: Any) -> Handler:
    return ConcurrentTimedRotatingFileHandler(str(live), when="D", interval=300, **options)


def make(live: Path, kind: Callable[..., Handler] = by_size, **options: Any) -> Handler:
    handler = kind(live, **{"maxBytes": FULL, "compression": "gzip", "header": head, **options})
    handler.name = "sent"
    handler.setFormatter(Angular("<>"))
    return handler


# What runs in each process, the one of the test included:

LOGGER = logging.getLogger("tests.spawned")
LOGGER.propagate = False
LOGGER.setLevel(logging.INFO)
numbers: List[Iterator[int]] = []


def begin(handler: logging.Handler) -> None:
    """Log by this handler from now on, and count from 1 on."""
    LOGGER.handlers[:] = [handler]
    numbers[:] = [itertools.count(1)]


def log(logger: Any, count: int) -> int:
    """Log some records; return who has done so."""
    for number in itertools.islice(numbers[0], count):
        logger.info("%d %s", number, DOTS)
    return os.getpid()


def work(handler: logging.Handler, count: int) -> None:
    begin(handler)
    log(LOGGER, count)


def task(count: int) -> int:
    return log(LOGGER, count)


# In the process of the test:


@pytest.fixture(autouse=True)
def _without_handlers() -> Iterator[None]:
    yield
    LOGGER.handlers.clear()


def run(processes: List[Any], meanwhile: Callable[[], object]) -> Set[int]:
    """Start processes and wait for their end; return who they were."""
    for process in processes:
        process.start()
    meanwhile()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return {process.pid for process in processes}


def age(name: str) -> Tuple[int, ...]:
    """Return what sorts the old files, the oldest first; fail for any other name."""
    found = re.fullmatch(re.escape(LIVE) + r"\.(?:([0-9-]{10})(?:\.([0-9]+))?|([0-9]+))\.gz", name)
    assert found, f"{name} has no business there, or is not compressed"
    date, counter, number = found.groups()
    return (int(date.replace("-", "")), int(counter or 0)) if date else (-int(number),)


def found_in(live: Path) -> Found:
    """Return the numbers of each process's records; assert that all is whole and nothing else is there."""
    old = sorted({each.name for each in live.parent.iterdir()} - HELPERS - {LIVE}, key=age)
    texts = [gzip.decompress((live.parent / name).read_bytes()).decode() for name in old]
    assert texts, "it was not rotated"
    assert [text for text in texts if len(text) < FULL] == []
    found: Found = {}
    for text in [*texts, live.read_bytes().decode()]:
        assert text.startswith(HEAD)
        assert text.endswith("\n")
        for line in text[len(HEAD) :].splitlines():
            match = LINE.fullmatch(line)
            assert match, f"not whole: {line!r}"
            found.setdefault(int(match["pid"]), []).append(int(match["number"]))
    return found


def assert_all(live: Path, handler: Handler, logged: Dict[int, int]) -> None:
    """Assert that the log holds what was logged, by so many records of each process; nothing else."""
    assert handler.wait_for_upkeep(60)
    handler.close()
    assert found_in(live) == {pid: list(range(1, count + 1)) for pid, count in logged.items()}


@each_method
@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
@pytest.mark.parametrize("kind", [by_size, by_time])
def test_an_argument_of_processes(
    live: Path, kind: Callable[..., Handler], locking: str, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = make(live, kind, locking=locking)
    begin(handler)
    log(LOGGER, RECORDS)
    handler.wait_for_upkeep(60)  # or there is a thread, and Python warns of the fork
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=work, args=(handler, RECORDS)) for _ in range(3)]
    pids = run(processes, lambda: log(LOGGER, RECORDS))
    assert_all(live, handler, {os.getpid(): 2 * RECORDS, **dict.fromkeys(pids, RECORDS)})
    assert capfd.readouterr() == ("", "")


class Shop:
    """Has a logger, as the classes of many programs have; a logger travels by its name."""

    def __init__(self, handler: logging.Handler) -> None:
        self.handler = handler
        self.logger = LOGGER
        self.adapter = logging.LoggerAdapter(LOGGER, {"place": "here"})

    def begin(self) -> None:
        assert self.logger is LOGGER is self.adapter.logger
        if self.handler not in self.logger.handlers:  # forked processes have it
            self.logger.addHandler(self.handler)
        numbers[:] = [itertools.count(1)]

    def sell(self) -> None:
        self.begin()
        log(self.logger, RECORDS)
        log(self.adapter, RECORDS)
        log(self.logger.getChild("till"), RECORDS)
        assert self.logger.handlers.count(self.handler) == 1


@pytest.mark.skipif(sys.version_info < (3, 7), reason="loggers can be pickled since 3.7")
@each_method
def test_an_object_that_has_the_logger_and_the_handler(live: Path, method: str) -> None:
    handler = make(live)
    shop = Shop(handler)
    context: Any = multiprocessing.get_context(method)
    LOGGER.addHandler(handler)
    pids = run([context.Process(target=shop.sell) for _ in range(3)], shop.sell)
    assert_all(live, handler, dict.fromkeys({*pids, os.getpid()}, 3 * RECORDS))


def work_by_name(logger: logging.Logger, handler: logging.Handler) -> None:
    by_name = getattr(logging, "getHandlerByName", vars(logging)["_handlers"].get)
    assert by_name("sent") is handler
    logger.addHandler(handler)
    numbers[:] = [itertools.count(1)]
    log(logger, RECORDS)
    logger.removeHandler(handler)
    handler.close()
    assert by_name("sent") is None


@pytest.mark.skipif(sys.version_info < (3, 7), reason="loggers can be pickled since 3.7")
@each_method_that_pickles
def test_the_handler_has_its_name_where_it_arrives(live: Path, method: str) -> None:
    handler = make(live)
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=work_by_name, args=(LOGGER, handler)) for _ in range(2)]
    pids = run(processes, lambda: None)
    begin(handler)
    log(LOGGER, 1)
    assert_all(live, handler, {**dict.fromkeys(pids, RECORDS), os.getpid(): 1})


def counted(tasks: List[int], size: int) -> Dict[int, int]:
    """Return how many records each process has logged, by who has done each task."""
    return {pid: tasks.count(pid) * size for pid in set(tasks)}


@each_method
def test_a_pool_whose_processes_are_replaced(live: Path, method: str) -> None:
    handler = make(live)
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2, initializer=begin, initargs=(handler,), maxtasksperchild=6) as pool:
        tasks = pool.map(task, [10] * 24, chunksize=1)
        pool.close()
        pool.join()
    assert len(set(tasks)) >= 4
    assert_all(live, handler, counted(tasks, 10))


@pytest.mark.skipif(sys.version_info < (3, 7), reason="initializer came with 3.7")
@pytest.mark.skipif(
    not hasattr(ProcessPoolExecutor, "_adjust_process_count") and sys.version_info < (3, 10),
    reason="the executor of PyPy 3.9 calls a method of its own that it has not",
)
@each_method
def test_an_executor(live: Path, method: str) -> None:
    handler = make(live)
    options: Dict[str, Any] = {"mp_context": multiprocessing.get_context(method)}
    with ProcessPoolExecutor(2, initializer=begin, initargs=(handler,), **options) as executor:
        tasks = list(executor.map(task, [10] * 20))
    assert_all(live, handler, counted(tasks, 10))


def work_into_queue(queue: Any, count: int) -> None:
    work(logging.handlers.QueueHandler(queue), count)


@each_method
def test_a_listener_in_one_process_writes_for_all(live: Path, method: str) -> None:
    handler = make(live)
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    processes = [context.Process(target=work_into_queue, args=(queue, RECORDS)) for _ in range(3)]
    for process in processes:
        process.start()
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    begin(handler)
    log(LOGGER, RECORDS)  # beside the listener
    for process in processes:
        process.join(60)
    listener.stop()
    queue.close()
    queue.join_thread()
    pids = {process.pid for process in processes}
    assert_all(live, handler, dict.fromkeys({*pids, os.getpid()}, RECORDS))


def work_in_memory(handler: logging.Handler, count: int) -> None:
    memory = logging.handlers.MemoryHandler(7, target=handler)
    work(memory, count)
    memory.close()


@each_method
def test_a_memory_handler_in_each_process_hands_over_to_it(live: Path, method: str) -> None:
    handler = make(live)
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=work_in_memory, args=(handler, RECORDS)) for _ in range(3)]
    pids = run(processes, lambda: work_in_memory(handler, RECORDS))
    assert_all(live, handler, dict.fromkeys({*pids, os.getpid()}, RECORDS))


def work_at_once(handler: logging.Handler, barrier: Any) -> None:
    begin(handler)
    barrier.wait(60)
    log(LOGGER, RECORDS)


@each_method
@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
def test_what_mode_w_discards_is_discarded_once_by_whoever_comes_first(
    live: Path, locking: str, method: str
) -> None:
    live.write_text("from before\n", encoding="utf-8")
    handler = make(live, mode="w", locking=locking)
    context: Any = multiprocessing.get_context(method)
    barrier = context.Barrier(4)
    processes = [context.Process(target=work_at_once, args=(handler, barrier)) for _ in range(3)]
    pids = run(processes, lambda: work_at_once(handler, barrier))
    assert_all(live, handler, dict.fromkeys({*pids, os.getpid()}, RECORDS))


@each_method_that_pickles
def test_a_process_that_is_sent_the_handler_when_all_others_have_ended_goes_on(
    live: Path, method: str
) -> None:
    handler = make(live)
    begin(handler)
    context: Any = multiprocessing.get_context(method)
    logged = {}
    for _ in range(3):
        log(LOGGER, RECORDS)
        handler.close()
        pids = run([context.Process(target=work, args=(handler, RECORDS))], lambda: None)
        logged.update(dict.fromkeys(pids, RECORDS))
    assert_all(live, handler, {os.getpid(): 3 * RECORDS, **logged})
