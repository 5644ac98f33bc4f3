"""Settings that differ between the processes of a log are told by name, once; those that changed with a restart are not."""

import functools
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

import pytest

from support.children import Children
from support.folder import assert_every_record_once
from support.programs import run_program
from support.records import even
from support.writers import Scribe, WatchedHandler, WatchedTimedHandler

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
SURVEY_ALWAYS = 0.0


@pytest.fixture(autouse=True)
def look_around_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes that are forked from this one look around before each record."""
    for room in ("logfile", "exclusive"):
        monkeypatch.setattr(f"concurrent_log_handler.{room}.SURVEY", SURVEY_ALWAYS)


@both_modes
def test_who_comes_with_other_settings_tells_it_once_by_name(
    live: Path, children: Children, locking: str
) -> None:
    options: Dict[str, Any] = {"locking": locking, "backupCount": 1000}
    first = children.writer(functools.partial(WatchedHandler, str(live), maxBytes=1_000, **options), 1)
    first.log()
    second = children.writer(functools.partial(WatchedHandler, str(live), maxBytes=2_000, **options), 2)
    second.log()
    second.log(5)
    first.log(5)
    ends = [writer.end() for writer in (first, second)]
    told = f"maxBytes: 2000 here, 1000 in process {first.pid}'s configuration"
    assert [end.differences for end in ends] == [(), (told,)]
    assert_every_record_once(live, [end.account for end in ends], even)


def test_rotations_by_size_and_by_time_differ_in_what_the_one_lacks(live: Path, children: Children) -> None:
    timed = children.writer(functools.partial(WatchedTimedHandler, str(live), when="D", utc=True), 1)
    timed.log()
    by_size = children.writer(functools.partial(WatchedHandler, str(live)), 2)
    by_size.log()
    whose = f"in process {timed.pid}'s configuration"
    assert by_size.end().differences == (
        f"when: not set here, D {whose}",
        f"interval: not set here, 86400 {whose}",
        f"utc: not set here, True {whose}",
        f"suffix: not set here, %Y-%m-%d {whose}",
    )
    assert timed.end().differences == ()


def test_a_restart_with_new_settings_tells_nothing(live: Path, children: Children) -> None:
    old = children.writer(functools.partial(WatchedHandler, str(live), maxBytes=1_000, backupCount=9), 1)
    old.log()
    ends = [old.end()]
    for number in (2, 3):
        new = children.writer(
            functools.partial(WatchedHandler, str(live), maxBytes=2_000, backupCount=9), number
        )
        new.log()
        ends.append(new.end())
    assert [end.differences for end in ends] == [(), (), ()]
    assert_every_record_once(live, [end.account for end in ends], even)


def test_settings_that_are_changed_while_a_process_runs_are_told_by_the_others(
    live: Path, children: Children
) -> None:
    make = functools.partial(WatchedHandler, str(live), maxBytes=1_000, backupCount=9)
    changing = Scribe(make(), 1)
    changing.log()
    peer = children.writer(make, 2)
    peer.log()
    changing.handler.maxBytes = 2_000
    said = changing.log()
    assert (said.failures, said.differences) == ((), ())
    told = f"maxBytes: 1000 here, 2000 in process {os.getpid()}'s configuration"
    assert peer.log().differences == (told,)
    changing.handler.close()


PROGRAM = """
    import logging, os, sys
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    def log(limit):
        handler = ConcurrentRotatingFileHandler(sys.argv[1], maxBytes=limit, backupCount=5)
        handler.emit(logging.makeLogRecord({"msg": "one"}))
        return handler

    parent = log(10_485_760)
    if not os.fork():
        log(1_048_576)
        os._exit(0)
    os.wait()
    print(os.getpid())
"""


def test_what_is_told_stands_on_stderr_in_one_line(live: Path) -> None:
    command: List[str] = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(live)]
    ended = run_program(command)
    whose = f"in process {int(ended.stdout)}'s configuration"
    told = f"concurrent_log_handler: {live}: maxBytes: 1048576 here, 10485760 {whose}\n"
    assert (ended.returncode, ended.stderr) == (0, told)
