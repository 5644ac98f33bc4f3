"""Each system call of a scenario fails once, in each way: the record is whole or refused, and the rest mends itself."""

import contextlib
import errno
import gc
import os
import shutil
import sys
from pathlib import Path
from typing import Dict, List, Set

import pytest

from support.faults import (
    ERRORS,
    LATER,
    MORE_OR_LESS,
    SCENARIOS,
    WRITES,
    Bench,
    Fault,
    Run,
    Scenario,
    failing,
    left_by,
    set_up,
    stopping_short,
    wrong_files,
    wrong_records,
)

SHORT: Dict[str, Fault] = {
    "short": stopping_short(),
    "short-and-the-next-call-fails": stopping_short(then=failing(errno.ENOSPC)),
    "short-and-the-next-write-fails": stopping_short(then_write=failing(errno.ENOSPC)),
}
FAULTS: Dict[str, Fault] = {**{errno.errorcode[number]: failing(number) for number in ERRORS}, **SHORT}
# Mostly, what a call fails with makes no difference: all errors in all scenarios are for `make storm`.
TELLING = ("EIO", "ENOENT", *SHORT)
MET_BY_ALL = ("first-record", "rotation-of-1", "timed-rotation")
EVERYTHING = os.environ.get("CLH_EVERYTHING") == "1"
CASES = [
    (name, fault)
    for name in SCENARIOS
    for fault in FAULTS
    if EVERYTHING or name in MET_BY_ALL or fault in TELLING
]


def open_files() -> Set[str]:
    """Return the descriptors of this process; where they cannot be listed, none."""
    return {each.name for each in Path("/dev/fd").iterdir()} if sys.platform == "linux" else set()


def left_open(before: Set[str]) -> List[str]:
    """Return what has not been closed, but for what is when it is collected (the traceback of a failure holds it)."""
    if open_files() - before:
        gc.collect()
    return [f"left open {each}" for each in sorted(open_files() - before)]


def act_and_log_on(run: Run, scenario: Scenario, bench: Bench, nth: int, fault: Fault) -> List[str]:
    """Let the scenario happen with its nth call failing; return what came of it that must not."""
    bench.calls.begin(nth, fault)
    try:
        scenario.act(run)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return [f"raised {error!r}"]
    finally:
        bench.calls.end()
    bench.clock.sleep(LATER)
    refused = list(run.refused)
    run.log()
    run.close()
    return [f"refused later as well: {each!r}" for each in run.refused[len(refused) :]]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_whichever_call_fails_no_record_is_lost_or_doubled_and_an_heir_finds_all_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    bench = set_up(monkeypatch)
    scenario = SCENARIOS[name]
    undisturbed = Run(bench, tmp_path / "undisturbed", scenario.options)
    scenario.prepare(undisturbed)
    assert act_and_log_on(undisturbed, scenario, bench, -1, FAULTS[fault]) == []
    calls = list(bench.calls.names)
    assert undisturbed.pass_on() == []
    left = left_by(undisturbed)
    assert set(left.permissions) >= {*scenario.backups(undisturbed), "app.log"}
    assert list(wrong_records(undisturbed, scenario)) == []

    wrong: List[str] = []
    nth = failed = 0
    reached = True
    while reached:
        nth += 1
        run = Run(bench, tmp_path / str(nth), scenario.options)
        scenario.prepare(run)
        before = open_files()
        faults = act_and_log_on(run, scenario, bench, nth, FAULTS[fault])
        reached = len(bench.calls.names) >= nth
        place = bench.calls.place
        if place is not None or not reached:
            failed += reached
            faults += left_open(before)
            faults += run.pass_on()
            faults += wrong_files(run, left)
            faults += wrong_records(run, scenario, may_have_blanks=fault in SHORT)
            wrong += [f"{nth}, {place}: {each}" for each in faults]
        shutil.rmtree(run.folder)
        for each in open_files() - before:
            with contextlib.suppress(OSError):  # the one of the listing
                os.close(int(each))
    print(f"{name}: {failed} of {nth - 1} calls failed by {fault}")
    assert wrong == []
    assert abs(nth - 1 - len(calls)) <= MORE_OR_LESS
    if fault not in SHORT:
        assert failed > nth - 2
    else:
        assert bool(failed) == any(name in WRITES for name in calls)
