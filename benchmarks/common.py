"""What the benchmarks share: rivals, worker processes, interleaving, statistics, tables, result files."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import logging
import logging.handlers
import math
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

T = TypeVar("T")

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "concurrent_log_handler"
RIVAL_VERSION = "0.9.31"

FORMATTING = "formatting only"
OS_WRITE = "os.write"
FILE_HANDLER = "FileHandler"
ROTATING = "RotatingFileHandler"
ATOMIC = "atomic"
EXCLUSIVE = "exclusive"
TIMED = "timed"
RIVAL = RIVAL_VERSION
RIVAL_TIMED = f"{RIVAL_VERSION} timed"
STANDARD_TIMED = "TimedRotatingFileHandler"
GZIP = "gzip"
RIVAL_GZIP = f"{RIVAL_VERSION} gzip"
OURS = (ATOMIC, EXCLUSIVE, TIMED, GZIP)
THEIRS = (RIVAL, RIVAL_TIMED, RIVAL_GZIP)

FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


class BenchmarkError(RuntimeError):
    """Something without which a measurement would mean nothing."""


# -- the rivals --------------------------------------------------------------------------------------------


class FormattingHandler(logging.Handler):
    """Formats and encodes, and drops the result: what every handler has to pay."""

    def emit(self, record: logging.LogRecord) -> None:
        """Do the part of the work that is not measured."""
        try:
            (self.format(record) + "\n").encode("utf-8")
        except Exception:  # noqa: BLE001 - what logging's own handlers do
            self.handleError(record)


class WriteHandler(logging.Handler):
    """The least that a file handler can do: format, encode, one system call."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending."""
        super().__init__()
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record."""
        try:
            os.write(self.descriptor, (self.format(record) + "\n").encode("utf-8"))
        except Exception:  # noqa: BLE001 - what logging's own handlers do
            self.handleError(record)

    def close(self) -> None:
        """Close the file, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        super().close()


class Folders(NamedTuple):
    """Where the two packages of the same import name are found."""

    package: Path
    rival: Path

    def of(self, name: str) -> Path | None:
        """Return the folder that a rival's process has to search first."""
        if name in OURS:
            return self.package
        return self.rival if name in THEIRS else None


def use_folder(folder: Path | None) -> None:
    """Import the package from a folder, and make sure that it came from there."""
    if folder is None:
        return
    sys.path.insert(0, str(folder))
    module = importlib.import_module(PACKAGE)
    origin = Path(str(module.__file__)).resolve()
    if folder.resolve() not in origin.parents:
        message = f"{PACKAGE} was imported from {origin.parent}, not from {folder}"
        raise BenchmarkError(message)


def fail(_record: logging.LogRecord) -> None:
    """Let the error that is being handled go through: a record that failed is no measurement."""
    raise  # noqa: PLE0704 - the caller is in its `except`


def make_handler(
    name: str,
    path: Path,
    max_bytes: int,
    backup_count: int,
    handle_error: Callable[[logging.LogRecord], None] = fail,
) -> logging.Handler:
    """Make the handler of a rival, in a process that has its folder in use."""
    handler: logging.Handler
    if name == FORMATTING:
        handler = FormattingHandler()
    elif name == OS_WRITE:
        handler = WriteHandler(path)
    elif name == FILE_HANDLER:
        handler = logging.FileHandler(path, encoding="utf-8")
    else:
        options: dict[str, Any] = {"maxBytes": max_bytes, "backupCount": backup_count, "encoding": "utf-8"}
        if name == ROTATING:
            handler = logging.handlers.RotatingFileHandler(path, **options)
        elif name == STANDARD_TIMED:
            handler = logging.handlers.TimedRotatingFileHandler(path, when="midnight", encoding="utf-8")
        elif name in (TIMED, RIVAL_TIMED):
            timed = importlib.import_module(PACKAGE).ConcurrentTimedRotatingFileHandler
            handler = timed(str(path), when="midnight", **options)
        else:
            if name in (GZIP, RIVAL_GZIP):
                options["use_gzip"] = True
            elif name in OURS:
                options["locking"] = name
            handler = importlib.import_module(PACKAGE).ConcurrentRotatingFileHandler(str(path), **options)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.handleError = handle_error  # type: ignore[assignment,method-assign]
    return handler


def roll_over(name: str, handler: Any) -> None:
    """Rotate now, in the way in which the handler does it while it logs."""
    with contextlib.ExitStack() as stack:
        handler.acquire()
        stack.callback(handler.release)
        if name in (RIVAL, RIVAL_GZIP):
            # 0.9.31 takes its lock between the processes in emit(), outside of doRollover().
            handler._do_lock()  # noqa: SLF001
            stack.callback(handler._do_unlock)  # noqa: SLF001
        handler.doRollover()


def rival_folder(chosen: Path | None) -> Path:
    """Return the folder that holds the released version, installing it there the first time."""
    # One folder per version of Python: what the release depends on is not the same for all of them.
    own = f"{RIVAL_VERSION}-{sys.implementation.cache_tag}"
    folder = chosen or Path(tempfile.gettempdir()) / f"clh-benchmarks-{getpass.getuser()}" / own
    if (folder / PACKAGE).is_dir():
        if sys.platform != "win32" and chosen is None and folder.stat().st_uid != os.getuid():
            message = f"{folder} belongs to somebody else: choose another one with --rival-directory"
            raise BenchmarkError(message)
        return folder
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    requirement = f"concurrent-log-handler=={RIVAL_VERSION}"
    print(f"installing {requirement} into {folder}", file=sys.stderr)
    # Moved into place when complete, so that an interrupted installation is not taken for a whole one.
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        arguments = [*command, "--target", unfinished, requirement]
        done = subprocess.run(arguments, check=False)
        if done.returncode:
            message = f"{requirement} could not be installed (pip ended with {done.returncode})"
            raise BenchmarkError(message)
        folder.mkdir(exist_ok=True)
        for entry in Path(unfinished).iterdir():
            shutil.move(str(entry), str(folder / entry.name))
    return folder


# -- worker processes --------------------------------------------------------------------------------------


class Failure(NamedTuple):
    """What a worker sends instead of an answer."""

    text: str


def _work(connection: Connection, folder: Path | None, build: Callable[..., Any], args: Any) -> None:
    """Answer the parent's requests until it sends None."""
    try:
        use_folder(folder)
        answer = build(*args)
        connection.send(None)
        while True:
            request = connection.recv()
            if request is None:
                return
            connection.send(answer(*request))
    except EOFError:
        return
    except BaseException:  # noqa: BLE001 - whatever it was, the parent has to hear of it
        connection.send(Failure(traceback.format_exc()))


class Worker:
    """A fresh process with a rival's folder first on its path; idle except between ask() and its answer."""

    def __init__(self, title: str, folder: Path | None, build: Callable[..., Any], *args: object) -> None:
        """Start the process; `build(*args)` there returns the function that answers the requests."""
        self.title = title
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, folder, build, args), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, *request: object) -> None:
        """Ask something without waiting for the answer."""
        self.connection.send(request)

    def receive(self) -> Any:
        """Wait for the answer to the oldest request."""
        try:
            answer = self.connection.recv()
        except EOFError:
            answer = Failure("the process has gone")
        if isinstance(answer, Failure):
            message = f"the worker for {self.title} failed:\n{answer.text}"
            raise BenchmarkError(message)
        return answer

    def ask(self, *request: object) -> Any:
        """Ask something and wait for the answer."""
        self.send(*request)
        return self.receive()

    def stop(self) -> None:
        """Let the process end."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
        self.connection.close()


@contextlib.contextmanager
def running(workers: Iterable[Worker]) -> Iterator[list[Worker]]:
    """Give out the workers once all are ready, and stop them at the end."""
    started: list[Worker] = []
    try:
        for worker in workers:
            started.append(worker)
            worker.receive()
        yield started
    finally:
        for worker in started:
            worker.stop()


def interleave(names: Sequence[str], rounds: int, measure: Callable[[str], T]) -> dict[str, list[T]]:
    """Measure everything once per round, in a changing order, so that no two are always neighbours."""
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number // 2 % len(names)
        order = [*names[turn:], *names[:turn]]
        for name in reversed(order) if number % 2 else order:
            results[name].append(measure(name))
        progress(number + 1, rounds)
    return results


def progress(done: int, total: int) -> None:
    """Show how far a run has come, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


# -- statistics --------------------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A median, and the values between which something lies."""

    low: float
    median: float
    high: float


def quartiles(values: Sequence[float]) -> Spread:
    """Tell between which values the middle half of the rounds lies."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def certain(values: Sequence[float]) -> Spread:
    """Tell between which values the true median lies, with 95 % certainty, however the rounds are spread.

    Each round is above the true median with a chance of one half, so how many are is a binomial count. Below
    six rounds nothing is as certain as that, and the whole range is returned.
    """
    ordered, count = sorted(values), len(values)
    reach = 1.96 * math.sqrt(count) / 2
    low = max(0, math.floor(count / 2 - reach))
    high = min(count - 1, math.ceil(count / 2 + reach))
    return Spread(ordered[low], statistics.median(ordered), ordered[high])


def differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Subtract, round by round, what was measured beside it."""
    return [value - other for value, other in zip_rounds(values, others)]


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Divide, round by round, by what was measured beside it."""
    return [value / other if other else math.inf for value, other in zip_rounds(values, others)]


def zip_rounds(values: Sequence[T], others: Sequence[T]) -> Iterator[tuple[T, T]]:
    """Pair what was measured in the same round."""
    if len(values) != len(others):
        message = f"{len(values)} rounds cannot be paired with {len(others)}"
        raise BenchmarkError(message)
    return zip(values, others)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the sorted values that at least this share of them do not exceed."""
    index = -int(-share * len(ordered) // 1) - 1
    return ordered[max(0, min(index, len(ordered) - 1))]


# -- output ------------------------------------------------------------------------------------------------


def format_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align a plain table: the first column to the left, figures to the right."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    lines.insert(1, ["-" * width for width in widths])

    def align(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
        return "  ".join([line[0].ljust(widths[0]), *cells]).rstrip()

    return "\n".join(align(line) for line in lines)


def whole(value: float) -> str:
    """Write a figure without decimals, in groups of three digits."""
    return f"{value:,.0f}"


def ratio(value: float) -> str:
    """Write a ratio."""
    return f"{value:.2f}"


def span(values: Spread, write: Callable[[float], str]) -> str:
    """Write what the median lies between."""
    return f"{write(values.low)} .. {write(values.high)}"


def save(path: Path, samples: Mapping[str, Sequence[float]], title: str) -> None:
    """Keep every round, in seconds, as a file that `python -m pyperf` reads."""
    try:
        pyperf = importlib.import_module("pyperf")
    except ImportError as error:
        message = "results are kept by pyperf, which is not installed: pip install pyperf"
        raise BenchmarkError(message) from error
    suite = pyperf.BenchmarkSuite(
        [
            pyperf.Benchmark([pyperf.Run(values, metadata={"name": name, "unit": "second", "title": title})])
            for name, values in samples.items()
        ]
    )
    suite.dump(str(path), replace=True)
    print(f"every round is kept in {path}")


# -- command line ------------------------------------------------------------------------------------------


def choose(parser: argparse.ArgumentParser, rivals: Sequence[str]) -> None:
    """Add the option that measures fewer rivals."""
    parser.add_argument(
        "--rivals", nargs="+", choices=rivals, default=rivals, metavar="NAME", help=", ".join(rivals)
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks have."""
    parser.add_argument("--directory", type=Path, help="folder for the log files (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="file for every round's result, for python -m pyperf")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run at all?")
    parser.add_argument(
        "--package-directory",
        type=Path,
        default=SOURCE,
        metavar="DIR",
        help="folder from which this package is imported (default: src of this checkout)",
    )
    parser.add_argument(
        "--rival-directory",
        type=Path,
        metavar="DIR",
        help=f"folder for version {RIVAL_VERSION}, installed there if missing (default: a temporary one)",
    )


def find_folders(arguments: argparse.Namespace, names: Iterable[str]) -> Folders:
    """Locate the packages that this run needs."""
    needed = not set(THEIRS).isdisjoint(names)
    rival = rival_folder(arguments.rival_directory) if needed else Path()
    return Folders(arguments.package_directory.resolve(), rival.resolve())


@contextlib.contextmanager
def scratch(directory: Path | None) -> Iterator[Path]:
    """Give out an empty folder and remove it in the end."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clh-benchmark-", dir=directory) as folder:
        yield Path(folder).resolve()


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what keeps it from measuring is said without a traceback of this side."""
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
