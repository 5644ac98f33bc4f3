"""What it costs a program to import the package and to make a handler: no thread, no file, no descriptor."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.programs import run_program

if TYPE_CHECKING:
    import subprocess


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own, where nothing has been imported yet."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return run_program(command)


WATCH = """
import os, sys, threading

def now():
    # The descriptor that does the listing is among them, under the same number each time.
    return threading.enumerate(), sorted(os.listdir("/proc/self/fd" if os.path.exists("/proc") else "/dev/fd"))

before = now()
import concurrent_log_handler
assert now() == before, "import"
handler = concurrent_log_handler.ConcurrentRotatingFileHandler(sys.argv[1], maxBytes=10, backupCount=3)
assert now() == before, "construction"
handler.close()
assert now() == before, "close"
"""


def test_neither_import_nor_construction_starts_a_thread_or_opens_anything(tmp_path: Path) -> None:
    ended = run(WATCH, str(tmp_path / "app.log"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_handler_that_logged_has_started_no_thread(tmp_path: Path) -> None:
    code = WATCH.rpartition("handler.close()")[0] + (
        "import logging\n"
        "for text in ('one two three', 'four'): handler.handle(logging.makeLogRecord({'msg': text}))\n"
        "handler.close()\n"
        "assert now() == before, 'after two records'\n"
    )
    ended = run(code, str(tmp_path / "app.log"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert {each.name for each in tmp_path.iterdir()} == {
        "app.log",
        "app.log.1",
        ".__app.lock",
        ".__app.state",
    }


def test_the_handler_is_published_for_configuration_files() -> None:
    code = (
        "import logging.handlers\n"
        "assert not hasattr(logging.handlers, 'ConcurrentRotatingFileHandler')\n"
        "import concurrent_log_handler\n"
        "print(logging.handlers.ConcurrentRotatingFileHandler"
        " is concurrent_log_handler.ConcurrentRotatingFileHandler)\n"
    )
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="simulates Windows")
def test_on_windows_the_import_says_that_it_does_not_work_there_yet() -> None:
    # What the package imports from the standard library comes first: of that only the real Windows is meant.
    code = (
        "import logging.handlers, os\n"
        "os.name = 'nt'\n"
        "try:\n"
        "    import concurrent_log_handler\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "does not run on Windows yet" in ended.stdout
    assert "concurrent-log-handler<1.0" in ended.stdout
