"""What the commands have in common: arguments, exit statuses, what they print, and how they show how far they are."""

import argparse
import importlib
import math
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Optional, TextIO

from concurrent_log_handler.units import size_of

LOG_NAME = "app.log"
OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130


def parse_size(text: str) -> int:
    """Return the number of bytes that `text` names: 20000, 500k, 2 MB or 1 GiB."""
    number = size_of(text)
    if number is None or number != int(number):
        raise argparse.ArgumentTypeError(f"not a size: {text!r}")
    return int(number)


def whole_number(text: str) -> int:
    """Return the number that `text` names, which is 1 at least."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def duration(text: str) -> float:
    """Return the number that `text` names, which is more than 0 and finite."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError(text)
    return seconds


def make_folder(directory: Optional[Path], prefix: str) -> Path:
    """Return the whole path of an empty folder for a log: this directory, or a temporary one.

    Raises `OSError` if there is something in it, or it cannot be made.
    """
    if directory is None:
        return Path(tempfile.mkdtemp(prefix=prefix))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    return directory.absolute()


def say(text: str, stream: Optional[TextIO] = None) -> None:
    """Print what may hold names that the terminal cannot show."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


class Display:
    """Shows how far the work is: a line of text for each quarter of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ("", 0)

    def show(self, phase: str, done: float, text: str) -> None:
        """Show that this share of a phase is done, 0 to 1."""
        now = (phase, int(done * 4))
        if now != self._last:
            self._last = now
            say(f"{phase}: {text}", self._stream)

    def close(self) -> None:
        """Leave the terminal to others."""


class RichDisplay(Display):
    """Shows how far the work is as a moving bar, which is gone at the end."""

    def __init__(self, stream: TextIO, rich: ModuleType) -> None:
        super().__init__(stream)
        columns = "{task.description:12}", rich.BarColumn(), "{task.fields[text]}"
        console = importlib.import_module("rich.console").Console(file=stream)
        self._progress = rich.Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=1.0, text="")
        self._progress.start()

    def show(self, phase: str, done: float, text: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, description=phase, completed=done, text=text)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def open_display(stream: TextIO) -> Display:
    """Return a bar for a terminal, if `rich` is there, else lines."""
    if stream.isatty():
        with suppress(ImportError):
            return RichDisplay(stream, importlib.import_module("rich.progress"))
    return Display(stream)
