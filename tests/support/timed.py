"""A log that rotates by time, on a day long ago, in the process of the test, which sets the clock."""

import logging
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional, Type, TypeVar

import pytest

from concurrent_log_handler import ConcurrentTimedRotatingFileHandler
from support.clock import instant_of
from support.folder import LIVE, LOCK, PAGE, noted_boundary

Handler = ConcurrentTimedRotatingFileHandler

DAY = "2021-11-22"
"""A Monday, long ago, so that files made now are of no earlier period."""
LONG_AGO = float("-inf")


def instant(text: str, day: str = DAY) -> int:
    """Return a time of day in UTC."""
    return instant_of(f"{day} {text}+00:00")


class TimedLog:
    """A log in a folder of its own, its handlers, and the clock on its wall."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live, self.lock, self.page = (folder / name for name in (LIVE, LOCK, PAGE))
        self.now = float(instant("10:00"))
        self.handlers: List[Handler] = []
        self.failures: List[logging.LogRecord] = []

    def open(self, kind: Type[Handler] = Handler, **arguments: Any) -> Handler:
        """Make a handler."""
        handler = kind(self.live, **{"utc": True, **arguments})
        vars(handler)["handleError"] = self.failures.append
        self.handlers.append(handler)
        return handler

    def end(self) -> None:
        """Close all handlers, as at the end of a program."""
        while self.handlers:
            self.handlers.pop().close()

    def at(self, text: str, *texts: str, by: Optional[Handler] = None, day: str = DAY) -> None:
        """Let it be that time, and log texts, by the handler that was opened last as a rule."""
        self.log_at(instant(text, day), *texts, by=by)

    def log_at(self, now: float, *texts: str, by: Optional[Handler] = None) -> None:
        """Do the same at a time in seconds."""
        self.now = now
        for each in texts:
            self.log(by or self.handlers[-1], each)

    def log(self, handler: Handler, text: str) -> None:
        """Log a text, and wait for what comes after a rotation."""
        look_at_everything(handler)
        handler.handle(logging.makeLogRecord({"msg": text}))
        handler._control.wait()

    def noted(self) -> int:
        """Return the next rollover, as lock file and page have it."""
        return noted_boundary(self.folder)


def look_at_everything(handler: Handler) -> None:
    """Have the next record be preceded by all that is seen to once in a while."""
    handler._log.settings = handler._log.settings
    handler._log._survey_at = handler._log.files._blocked_until = LONG_AGO


L = TypeVar("L", bound=TimedLog)


def in_its_time(log: L, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[L]:
    """Yield a log by whose clock the process goes; then end it, and let nothing have failed or been reported."""
    monkeypatch.setattr(time, "time", lambda: log.now)
    yield log
    log.end()
    assert log.failures == []
    assert capsys.readouterr() == ("", "")


def told(capsys: pytest.CaptureFixture[str]) -> List[str]:
    """Return what was reported, without what each report begins with."""
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("concurrent_log_handler: /") for line in lines), lines
    return [line.split(": ", maxsplit=2)[2] for line in lines]
