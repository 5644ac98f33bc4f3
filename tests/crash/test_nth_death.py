"""A process dies at each system call of a scenario, before it and after it; who comes next leaves all in order.

To have made a call, and not yet begun with the next one, is one and the same for all that a process leaves behind. So it
dies before the first, and after each.
"""

import gc
import os
import shutil
from pathlib import Path
from typing import List

import pytest

from support.clock import Numbers
from support.faults import (
    DEAD,
    MORE_OR_LESS,
    SCENARIOS,
    Bench,
    Fault,
    Run,
    Scenario,
    dying_after,
    dying_before,
    left_by,
    set_up,
    wrong_files,
    wrong_records,
)


def die(run: Run, scenario: Scenario, bench: Bench, nth: int, death: Fault) -> int:
    """Have a child die at the nth call of a scenario; return its exit status, and take note of what it has done."""
    said = Numbers(4)
    gc.disable()  # to look for garbage is to copy all of the parent's memory
    child = os.fork()
    if not child:
        code = 1
        try:
            scenario.prepare(run)
            said[0], said[1], said[3] = len(run.planted), len(run.acknowledged), run.wall
            bench.calls.begin(nth, death)
            scenario.act(run)
            said[2] = len(run.acknowledged) - said[1]
            code = 0
        finally:
            os._exit(code)
    gc.enable()
    _, status = os.waitpid(child, 0)
    acknowledged = int(said[2])
    run.learn(said[3], int(said[0]), int(said[1]) + acknowledged, 1 - acknowledged)
    return os.WEXITSTATUS(status)


@pytest.mark.parametrize("name", SCENARIOS)
def test_wherever_a_process_dies_an_heir_finds_each_record_once_and_leaves_all_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bench = set_up(monkeypatch)
    scenario = SCENARIOS[name]
    undisturbed = Run(bench, tmp_path / "undisturbed", scenario.options)
    scenario.prepare(undisturbed)
    bench.calls.begin()
    scenario.act(undisturbed)
    bench.calls.end()
    calls = list(bench.calls.names)
    undisturbed.close()
    assert undisturbed.pass_on() == []
    left = left_by(undisturbed)
    assert list(wrong_records(undisturbed, scenario)) == []

    wrong: List[str] = []
    nth = 0
    code = DEAD
    while code == DEAD:
        run = Run(bench, tmp_path / str(nth), scenario.options)
        code = die(run, scenario, bench, nth or 1, dying_after if nth else dying_before)
        faults = run.pass_on()
        faults += wrong_files(run, left)
        faults += wrong_records(run, scenario)
        call = calls[nth - 1] if 0 < nth <= len(calls) else "none"
        wrong += [f"after {nth} calls, the last of them {call}: {each}" for each in faults]
        shutil.rmtree(run.folder)
        nth += 1
    print(f"{name}: a process died {nth - 1} times, before the first and after each of {len(calls)} calls")
    assert wrong == []
    assert code == 0
    assert abs(nth - 2 - len(calls)) <= MORE_OR_LESS
