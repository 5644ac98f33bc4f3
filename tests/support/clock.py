"""What the processes of a test share without asking each other: numbers, and the clock on the wall."""

import datetime as dt
import logging
import mmap
import time

from support.writers import WatchedTimedHandler

HOUR = 3_600


def instant_of(text: str) -> int:
    """Return a moment such as "2025-10-26 02:30+02:00", with seconds or without, in seconds since 1970."""
    # `datetime.fromisoformat` came with Python 3.7, and so did the colon that `%z` takes.
    wall, offset = text[:-6], text[-6:].replace(":", "")
    form = "%Y-%m-%d %H:%M:%S%z" if wall.count(":") == 2 else "%Y-%m-%d %H:%M%z"
    return int(dt.datetime.strptime(wall + offset, form).timestamp())  # noqa: DTZ007 - the form has it


class Numbers:
    """Numbers that all processes forked from this one share; they outlive a kill."""

    def __init__(self, count: int) -> None:
        # Not by struct.pack_into: that writes zeros first, and a kill may come between.
        self._numbers = memoryview(mmap.mmap(-1, 8 * count)).cast("d")

    def __getitem__(self, index: int) -> float:
        return self._numbers[index]

    def __setitem__(self, index: int, value: float) -> None:
        self._numbers[index] = value


class Clock:
    """The wall clock of all processes of a test, at a full hour at first.

    It stays behind the real one, so that the log never looks as if it were older than its records.
    """

    def __init__(self) -> None:
        self._now = Numbers(1)
        self.set(time.time() // HOUR * HOUR - 12 * HOUR)

    def __call__(self) -> float:
        return self._now[0]

    def set(self, now: float) -> None:
        """Let it be that time."""
        self._now[0] = now

    def advance(self, seconds: float) -> None:
        """Let it be that much later."""
        self.set(self() + seconds)


class Jumping(WatchedTimedHandler):
    """Notices at once that its clock has been set forward, not only when its lease has run out."""

    noticed = 0.0

    def handle(self, record: logging.LogRecord) -> bool:
        if self.clock() != self.noticed:
            self.noticed = self.clock()
            self.maxBytes = self.maxBytes  # who sets an option must not have to wait, either
        return bool(super().handle(record))
