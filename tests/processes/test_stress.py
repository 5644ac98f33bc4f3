"""Storms as users start them: each fault that is planted is named, and nothing else is."""

import gzip
import json
import logging
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from itertools import repeat
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest

from concurrent_log_handler import __version__
from concurrent_log_handler.cli import crew, main, storm, stress
from concurrent_log_handler.cli.reckoning import Terms, read_records, survey
from concurrent_log_handler.cli.storm import CALLS, FREEZING, LOGGED, SLOTS, Outcome, Plan, Storm, Watch
from concurrent_log_handler.cli.workload import Entry
from support.children import LONG, until
from support.programs import run_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills and freezes by signals")

COMMAND = [sys.executable, "-m", "concurrent_log_handler", "stress"]
HELPERS = {".__app.lock", ".__app.state"}
CLEAN = "Every record is there: once, whole and in order."
TERMS = Terms(compressed=True)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made in a folder of the test, for child processes as well."""
    multiprocessing.util.get_temp_dir()  # now: that of this process, with its sockets, is to outlive the test
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def storm_of(folder: Path, report: Path, *options: str) -> Dict[str, Any]:
    """Run a storm that has to end well; return its report."""
    ended = run_program([*COMMAND, "--directory", str(folder), "--report", str(report), *options])
    result: Dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert (ended.returncode, result["faults"], result["notes"]) == (0, {}, []), ended.stdout
    assert ended.stdout.splitlines()[-2:] == [CLEAN, f"The files are in {folder}"]
    counts = result["counts"]
    assert min(counts["kills"], counts["freezes"]) > 0  # on a busy machine much fewer than asked for
    names = {each.name for each in folder.iterdir()} - HELPERS
    assert len(names) == counts["files"]
    assert {name for name in names if not name.endswith(".gz")} >= {"app.log"}
    assert 0 < result["call"]["median"] <= result["call"]["slowest"]
    print(f"{counts}, {result['call']}")
    return result


def test_nothing_is_lost_in_a_storm_that_compresses(tmp_path: Path) -> None:
    options = ["--seconds", "3", "--seed", "20261122", "--kill", "6", "--freeze", "6", "--compress"]
    result = storm_of(tmp_path / "logs", tmp_path / "report.json", *options, "--max-bytes", "100k")
    assert result["counts"]["expired"] == 0
    assert result["counts"]["files"] > 10
    told = {name: result[name] for name in ("version", "seed", "options", "directory")}
    assert told == {
        "version": __version__,
        "seed": 20261122,
        "directory": str(tmp_path / "logs"),
        "options": {
            "processes": 8,
            "seconds": 3.0,
            "records": None,
            "kill": 6.0,
            "freeze": 6.0,
            "compress": True,
            "timed": False,
            "expire": None,
            "max_bytes": 100_000,
        },
    }


def test_nothing_is_lost_in_a_storm_that_rotates_by_time_but_what_expires(tmp_path: Path) -> None:
    options = ["--seconds", "3", "--seed", "20261122", "--kill", "6", "--freeze", "6", "--timed", "--expire"]
    result = storm_of(
        tmp_path / "logs", tmp_path / "report.json", *options, "4", "--max-bytes", "100k", "--processes", "3"
    )
    assert result["counts"]["files"] == 5
    assert result["counts"]["expired"] > 0


class Recorded(NamedTuple):
    folder: Path
    outcome: Outcome


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Have one storm, and keep what it has left."""
    top = tmp_path_factory.mktemp("storm")
    for name in ("logs", "accounts"):
        (top / name).mkdir()
    plan = Plan(top / "logs" / "app.log", 3, 60.0, 1, 20_000, 3_000, kills=20.0, freezes=5.0, terms=TERMS)
    engine = Storm(plan, top / "accounts")
    try:
        return Recorded(top / "logs", engine.run())
    finally:
        engine.end()


def replay(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], Any]) -> List[Any]:
    """Let the next storm be the recorded one, with a fault planted; return what `plant` will return."""
    planted: List[Any] = []

    class Replay:
        def __init__(self, plan: Plan, _: Path) -> None:
            self._folder = plan.path.parent

        def run(self, _: Watch) -> Outcome:
            for each in recorded.folder.iterdir():
                shutil.copy2(str(each), str(self._folder))
            planted.append(plant(self._folder))
            return recorded.outcome

        def end(self) -> None:
            pass

    monkeypatch.setattr(stress, "Storm", Replay)
    return planted


def oldest(folder: Path) -> Path:
    return folder / survey(folder / "app.log", TERMS).logs[0]


def edit(path: Path, change: Callable[[List[bytes]], List[bytes]]) -> None:
    """Change the lines of a compressed file."""
    with gzip.open(str(path)) as stream:
        lines = stream.readlines()
    path.write_bytes(gzip.compress(b"".join(change(lines))))


def first_record(lines: List[bytes]) -> int:
    """Return how many lines the first record has."""
    starts = [line for line, _ in read_records(lines)]
    return starts[1] - 1


def lose(folder: Path) -> Dict[str, int]:
    edit(oldest(folder), lambda lines: lines[first_record(lines) :])
    return {"lost": 1}


def double(folder: Path) -> Dict[str, int]:
    edit(oldest(folder), lambda lines: lines[: first_record(lines)] + lines)
    return {"doubled": 1}


def tear(folder: Path) -> Dict[str, int]:
    edit(oldest(folder), lambda lines: [b"of a record\n", *lines])
    return {"torn": 1}


def cut(folder: Path) -> Dict[str, int]:
    def shortened(lines: List[bytes]) -> List[bytes]:
        count = first_record(lines)
        return [b"".join(lines[:count])[:-9] + b"\n", *lines[count:]]

    edit(oldest(folder), shortened)
    return {"lost": 1, "torn": 1}


def stray(folder: Path) -> Dict[str, int]:
    (folder / ".__app.0123456789abcdef.tmp").touch()
    return {"stray files": 1}


def leave_plain(folder: Path) -> Dict[str, int]:
    path = oldest(folder)
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    return {"uncompressed": 1}


@pytest.mark.parametrize("plant", [lose, double, tear, cut, stray, leave_plain])
def test_a_fault_is_named_and_its_files_are_kept(
    scratch: Path,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plant: Callable[[Path], Dict[str, int]],
) -> None:
    planted = replay(recorded, monkeypatch, plant)
    assert main(["stress", "--compress", "--report", "-"]) == 1
    (folder,) = scratch.iterdir()
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert [result["faults"]] == planted
    assert result["directory"] == str(folder)
    assert result["notes"]
    wrong = ", ".join(f"{count} {name}" for name, count in result["faults"].items())
    assert captured.err.splitlines()[-2:] == [f"WRONG: {wrong}", f"The files are in {folder}"]


def test_a_damaged_file_is_named(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def damage(folder: Path) -> None:
        path = oldest(folder)
        data = bytearray(path.read_bytes())
        data[-8] ^= 1  # in gzip's own checksum
        path.write_bytes(data)

    replay(recorded, monkeypatch, damage)
    assert main(["stress", "--compress", "--directory", str(tmp_path / "logs"), "--report", "-"]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert faults.pop("damaged files") == 1
    assert set(faults) <= {"lost"}


def test_a_storm_without_a_fault_leaves_nothing(
    scratch: Path,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replay(recorded, monkeypatch, lambda _: None)
    assert main(["stress", "--compress"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == CLEAN
    assert list(scratch.iterdir()) == []


def test_without_being_told_what_to_do_it_kills_freezes_and_compresses(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(recorded, monkeypatch, lambda _: None)
    assert main(["stress", "--report", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["options"] == {
        "processes": 8,
        "seconds": 30.0,
        "records": None,
        "kill": 2.0,
        "freeze": 2.0,
        "compress": True,
        "timed": False,
        "expire": None,
        "max_bytes": 200_000,
    }


@pytest.mark.parametrize(
    ("by", "fault"), [(signal.SIGSTOP, "hung writers"), (signal.SIGKILL, "dead writers")]
)
def test_a_writer_that_hangs_or_dies_by_itself_is_named(
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    by: "signal.Signals",
    fault: str,
) -> None:
    tell_all = Storm.tell_all
    victims: List[crew.Member] = []

    def tell_after_harm(engine: Storm) -> None:
        with monkeypatch.context() as patched:
            if not victims:
                victims.extend(engine.crew.values())
                os.kill(victims[0].process.pid or 0, by)
                patched.setattr(storm, "GRACE", 0.2)
                tell_all(engine)
                engine._wait_for_end()
        tell_all(engine)

    monkeypatch.setattr(Storm, "tell_all", tell_after_harm)
    options = ["--records", "100", "--processes", "1", "--max-bytes", "0", "--timed"]
    assert main(["stress", *options, "--report", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"] == {fault: 1}
    killed = -signal.SIGKILL if sys.version_info >= (3, 7) else 255  # as the server of forks has it there
    assert [each.process.exitcode for each in victims] == [killed]
    assert len(list(scratch.iterdir())) == 1


def test_writers_that_all_die_by_themselves_end_the_storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storm, "log_until_told", lambda *_: os._exit(1))
    engine = Storm(Plan(tmp_path / "app.log", 3, 60.0, 1, 0, records=1), tmp_path)
    engine._context = multiprocessing.get_context("fork")
    monkeypatch.setattr(storm, "GRACE", 0.2)
    outcome = engine.run()
    assert outcome.died >= storm.MOST_DEATHS
    assert [each.records for each in outcome.accounts] == [0] * len(outcome.accounts)


def living(group: int) -> List[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):  # it ends right now
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
# In the longer one there is no room for a socket: writers are not forked by a server there, but spawned.
@pytest.mark.parametrize("length", [30, 90])
def test_who_ends_it_ends_all_writers_and_leaves_the_files(by: "signal.Signals", length: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        scratch = Path(short, "-" * (length - len(short)))
        scratch.mkdir()
        end_storm(scratch, by)


def end_storm(scratch: Path, by: "signal.Signals") -> None:
    with subprocess.Popen(
        [*COMMAND, "--seconds", "60", "--processes", "3", "--freeze", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        # A shell that starts the tests in the background has them ignore it, and what they start as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as running:
        try:
            assert running.stderr is not None
            told = [running.stderr.readline().partition(": ")[0] for _ in range(2)]
            assert told == ["clh stress", "storm"]
        except BaseException:
            running.kill()
            raise
        if by == signal.SIGINT:
            os.killpg(running.pid, by)  # as a terminal does
        else:
            running.send_signal(by)
        output, errors = running.communicate(timeout=LONG)
    (folder,) = scratch.iterdir()
    assert (running.returncode, output) == (128 + by, "")
    if by == signal.SIGINT:
        assert errors.splitlines()[-2:] == ["interrupted", f"The files are in {folder}"]
    assert (folder / "app.log").exists()
    until(lambda: not living(running.pid), "end of all that it has started")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--processes", "0"],
        ["--seconds", "inf"],
        ["--records", "0"],
        ["--kill", "0"],
        ["--kill", "often"],
        ["--freeze", "nan"],
        ["--expire", "0"],
        ["--max-bytes", "-1"],
        ["--seed", "x"],
        ["--report"],
    ],
)
def test_wrong_arguments_are_refused(arguments: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["stress", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clh stress")


@pytest.mark.parametrize("option", ["--directory", "--report"])
def test_a_place_that_cannot_be_used_is_refused(
    scratch: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (scratch / "mine").touch()
    places = {"--directory": scratch, "--report": scratch / "missing" / "report.json"}
    assert main(["stress", option, str(places[option])]) == 2
    assert capsys.readouterr().err.startswith("clh stress: ")
    assert [each.name for each in scratch.iterdir()] == ["mine"]


# ---------------------------------------------------------------------------------------------- what a writer notes


class Halting(logging.Handler):
    """Does as if the writer were frozen in the third call, and, if `thaws` is unset, beyond that."""

    def __init__(self, numbers: "memoryview[int]", thaws: bool) -> None:
        super().__init__()
        self._numbers = numbers
        self._count = 0
        self._step = 2 if thaws else 1

    def emit(self, _: logging.LogRecord) -> None:
        self._count += 1
        if self._count == 3:
            self._numbers[FREEZING] += self._step


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    logger = logging.getLogger("shop")
    logger.propagate = False
    yield logger
    logger.propagate = True
    logger.handlers.clear()


@pytest.mark.parametrize(("thaws", "measured"), [(True, 9), (False, 2)])
def test_calls_in_which_the_writer_was_frozen_are_not_measured(
    shop: logging.Logger, thaws: bool, measured: int
) -> None:
    numbers = memoryview(bytearray(8 * SLOTS)).cast("Q")
    shop.addHandler(Halting(numbers, thaws))
    last = storm._log_burst(numbers, repeat(Entry("shop", logging.ERROR, "?")), 1, 5, 10)
    assert (last, numbers[LOGGED], sum(numbers[CALLS:])) == (15, 15, measured)


@pytest.mark.parametrize("cost", [0, 1, 15, 16, 17, 31, 32, 33, 1_000, 123_456_789, 2**62])
def test_costs_are_counted_in_steps_of_a_sixteenth(cost: int) -> None:
    step = storm.step_of(cost)
    low, high = storm.cost_of(step), storm.cost_of(step + 1)
    assert low <= cost < high
    assert high - low <= max(cost / 16, 1)
    assert CALLS + step < SLOTS


@pytest.mark.parametrize(("costs", "median"), [([], 0.0), ([5], 5.5e-9), ([1, 2, 2, 1_000], 2.5e-9)])
def test_the_median_is_that_of_all_calls(costs: List[int], median: Optional[float]) -> None:
    counts = [0] * (SLOTS - CALLS)
    for cost in costs:
        counts[storm.step_of(cost)] += 1
    assert storm._median(counts) == pytest.approx(median)
