"""From outside, by strace: real system calls of a process that logs, rotates and compresses fail, or are its last."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

from support.clock import Numbers
from support.faults import FULL, SCENARIOS, Bench, Run, left_by, set_up, wrong_files, wrong_records

STRACE = shutil.which("strace") or ""
RECORDS = 3 * FULL + 1
SCENARIO = SCENARIOS["compression"]._replace(prepare=lambda run: run.plant(run.numbers(2, 1), ".gz"))
CHANGING = "write pwrite64 ftruncate rename link linkat unlink unlinkat openat flock fsync fchmod utimensat fsetxattr"
ASKING = "pread64 lseek close fcntl getdents64 newfstatat fstat stat statfs fstatfs"
SAMPLES = 3
ACKNOWLEDGED, REFUSED = 1, 2
KILL = f"signal={signal.Signals.SIGKILL.name}"


class Traced:
    """A child that logs once strace has it."""

    def __init__(self, run: Run) -> None:
        self._verdicts = Numbers(RECORDS)
        waiting, self._go = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:  # all of it: strace may have this already, and one that got away would run the other tests
                with contextlib.suppress(OSError):  # it may be the call that is to fail
                    os.close(self._go)
                os.read(waiting, 1)
                self._log(run)
            finally:
                os._exit(1)
        os.close(waiting)

    def _log(self, run: Run) -> None:
        run.open()
        for number in range(RECORDS):
            run.log()
            self._verdicts[number] = REFUSED if run.logged[-1] in run.refused else ACKNOWLEDGED
        run.close()
        os._exit(0)

    def trace(self, *options: str) -> int:
        """Let it log, traced with these options; return what it ends with, a signal below zero."""
        with subprocess.Popen(
            [STRACE, "-f", "-p", str(self.pid), *options], stderr=subprocess.PIPE, bufsize=0
        ) as strace:
            assert strace.stderr is not None
            told = b""
            while b"attached" not in told:
                assert select.select([strace.stderr], [], [], 30)[0], "strace does not attach"
                piece = os.read(strace.stderr.fileno(), 1000)
                if not piece:
                    self.let_go()
                    pytest.skip(f"strace may not trace: {told.decode().strip()}")
                told += piece
            return self.let_go()

    def let_go(self) -> int:
        """Let it log; wait for its end."""
        os.write(self._go, b"\n")
        os.close(self._go)
        _, status = os.waitpid(self.pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def tell(self, run: Run) -> None:
        """Have a run take note of what was logged."""
        verdicts = [int(self._verdicts[number]) for number in range(RECORDS)]
        answered = len([each for each in verdicts if each])
        run.learn(run.wall, len(run.planted), answered, 1 if answered < RECORDS else 0)
        run.refused = [each for each, verdict in zip(run.logged, verdicts) if verdict == REFUSED]
        run.acknowledged = [each for each in run.acknowledged if each not in run.refused]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    if not STRACE:
        pytest.skip("there is no strace")
    return set_up(monkeypatch)


def traced(run: Run, *options: str) -> int:
    SCENARIO.prepare(run)
    child = Traced(run)
    code = child.trace(*options)
    child.tell(run)
    return code


def calls(trace: Path) -> Dict[str, int]:
    """Count the calls of each name."""
    return Counter(re.findall(r"^(?:[0-9]+ +)?([a-z0-9_]+)[(]", trace.read_text(), re.MULTILINE))


def samples(counts: Dict[str, int], names: str) -> Iterator[Tuple[str, int]]:
    """Yield some of the calls of each name: the first, the last, and those between."""
    for name in names.split():
        count = counts.get(name, 0)
        for nth in sorted(
            {1 + (count - 1) * step // (SAMPLES - 1) for step in range(SAMPLES)} if count else ()
        ):
            yield name, nth


@pytest.mark.parametrize("names", [CHANGING, ASKING], ids=["changing", "asking"])
@pytest.mark.parametrize("fault", ["error=ENOSPC", "error=EIO", KILL])
def test_whatever_real_call_it_hits_no_record_is_lost_or_doubled_and_an_heir_finds_all_in_order(
    tmp_path: Path, bench: Bench, fault: str, names: str
) -> None:
    undisturbed, trace = Run(bench, tmp_path / "undisturbed", SCENARIO.options), tmp_path / "trace"
    assert traced(undisturbed, "-o", str(trace)) == 0
    counts = calls(trace)
    assert undisturbed.pass_on() == []
    left = left_by(undisturbed)
    assert (undisturbed.refused, list(wrong_records(undisturbed, SCENARIO))) == ([], [])
    wrong: List[str] = []
    hits = misses = 0
    for name, nth in samples(counts, names):
        run = Run(bench, tmp_path / f"{name}-{nth}", SCENARIO.options)
        code = traced(run, "-o", str(trace), "-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={nth}")
        # How often a lock is asked for, and a file looked at, depends a little on the time that all takes.
        is_hit = calls(trace)[name] >= nth
        hits, misses = hits + is_hit, misses + (not is_hit)
        faults = (
            [] if code == (-signal.SIGKILL if is_hit and fault == KILL else 0) else [f"ended with {code}"]
        )
        faults += run.pass_on()
        faults += wrong_files(run, left)
        faults += wrong_records(run, SCENARIO)
        wrong += [f"{name} {nth}: {each}" for each in faults]
        shutil.rmtree(run.folder)
    print(f"{fault}: {hits} of {sum(counts.values())} calls; {misses} others did not come")
    assert wrong == []
    assert hits > 10
