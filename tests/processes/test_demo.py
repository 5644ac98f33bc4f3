"""The demo for real: processes, rotations, the whole report; and that it tells when anything is wrong."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import pytest

from concurrent_log_handler import __version__
from concurrent_log_handler.cli import crew, demo, main
from concurrent_log_handler.cli.console import Display
from concurrent_log_handler.cli.reckoning import Account, Reckoning, Watch, read_records, reckon, survey
from concurrent_log_handler.cli.workload import Plan, Tally
from support.programs import run_program

COMMAND = [sys.executable, "-m", "concurrent_log_handler"]
HELPERS = {".__app.lock", ".__app.state"}
BRIEF = ["demo", "--seconds", "0.2", "--processes", "1", "--max-bytes", "5k"]
CLEAN = "Every record is there: once, whole and in order."


def totals(report: str) -> Dict[str, int]:
    """Return the numbers of a report's first table."""
    lines = report.split("\n\n")[1].splitlines()
    return {
        name.strip(): int(count.replace(",", "")) for name, count in (line.rsplit(None, 1) for line in lines)
    }


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made in a folder of the test, for child processes as well."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_processes_log_through_rotations_and_every_record_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "logs"
    options = ["--seconds", "1", "--processes", "3", "--max-bytes", "20000", "--directory", str(folder)]
    ended = run_program([*COMMAND, "demo", *options])
    assert (ended.returncode, ended.stderr.splitlines()[-1][:12]) == (0, "reading back")

    names = {each.name for each in folder.iterdir()} - HELPERS
    size = sum((folder / name).stat().st_size for name in names)
    told = totals(ended.stdout)
    records, rate = told.pop("records"), told.pop("records/s")
    assert told == {
        "bytes": size,
        "files": len(names),
        "rotations": len(names) - 1,
        **dict.fromkeys(("lost", "doubled", "torn", "blank lines", "misordered", "unacknowledged"), 0),
        **dict.fromkeys(("errors", "stray files", "dead writers"), 0),
    }
    assert names == {"app.log", *(f"app.log.{number}" for number in range(1, len(names)))}
    assert len(names) > 5
    assert records > 300
    assert 0 < rate <= records

    title, _, rows, verdict = ended.stdout.split("\n\n")
    assert title == f"3 processes on {os.cpu_count()} CPUs, 1 s, one app.log, rotated at 20,000 bytes"
    by_process = [row.split() for row in rows.splitlines()[1:]]
    assert [row[0] for row in by_process] == ["w01", "w02", "w03"]
    assert sum(int(row[1].replace(",", "")) for row in by_process) == records
    assert all(0 < float(row[3]) < float(row[5]) and row[4] == row[6] == "ms" for row in by_process)
    assert verdict.splitlines() == [CLEAN, f"The files are in {folder}"]


@pytest.mark.parametrize("keep", [False, True])
def test_the_temporary_folder_is_kept_where_asked(
    scratch: Path, capsys: pytest.CaptureFixture[str], keep: bool
) -> None:
    assert main(BRIEF + ["--keep"] * keep) == 0
    folders = list(scratch.iterdir())
    last = capsys.readouterr().out.splitlines()[-1]
    if keep:
        assert [f"The files are in {folder}" for folder in folders] == [last]
    else:
        assert (folders, last) == ([], CLEAN)


def keys(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(key is not None for _, key in read_records(stream))


# Each plants a fault between the files of a finished run and returns what the report has to say.


def lose(_: Path, oldest: Path) -> str:
    records = keys(oldest)
    oldest.write_bytes(b"")
    return f"{records} lost"


def double(live: Path, oldest: Path) -> str:
    records = keys(oldest)
    with live.open("ab") as stream:
        stream.write(oldest.read_bytes())
    return f"{records} doubled"


def tear(live: Path, _: Path) -> str:
    with live.open("ab") as stream:
        stream.write(b"of a record\n")
    return "1 torn"


def misorder(live: Path, oldest: Path) -> str:
    records = keys(oldest)
    younger = survey(live).logs[1]
    oldest.rename(live.with_name("aside"))
    live.with_name(younger).rename(oldest)
    live.with_name("aside").rename(live.with_name(younger))
    return f"{records} misordered"


def stray(live: Path, _: Path) -> str:
    live.with_name(".__app.0123456789abcdef.tmp").touch()
    return "1 stray files"


@pytest.mark.parametrize("plant", [lose, double, tear, misorder, stray])
def test_a_fault_is_told_and_its_files_are_kept(
    scratch: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[Path, Path], str],
) -> None:
    faults: List[str] = []

    def reckon_after_damage(live: Path, accounts: Sequence[Account], watch: Watch) -> Reckoning:
        faults.append(plant(live, live.with_name(survey(live).logs[0])))
        return reckon(live, accounts, watch)

    monkeypatch.setattr(demo, "reckon", reckon_after_damage)
    assert main(BRIEF) == 1
    (folder,) = scratch.iterdir()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"WRONG: {faults[0]}", f"The files are in {folder}"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_writer_that_dies_is_a_fault_and_the_others_go_on(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = demo._collect

    def collect_after_death(members: Sequence[crew.Member], seconds: float, display: Display) -> List[Tally]:
        os.kill(members[0].process.pid or 0, signal.SIGKILL)
        return collect(members, seconds, display)

    monkeypatch.setattr(demo, "_collect", collect_after_death)
    assert main(["demo", "--seconds", "0.2", "--processes", "2"]) == 1
    assert [each.name for each in scratch.glob("*/app.log")] == ["app.log"]
    _, _, rows, verdict = capsys.readouterr().out.split("\n\n")
    assert [row.split()[:2] == ["w01", "0"] for row in rows.splitlines()[1:]] == [True, False]
    assert verdict.splitlines()[0] == "WRONG: 1 dead writers"


@pytest.mark.skipif(sys.platform == "win32", reason="freezes by signal")
@pytest.mark.usefixtures("scratch")
def test_a_writer_that_hangs_is_given_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = demo._collect
    frozen: List[crew.Member] = []

    def collect_from_frozen(members: Sequence[crew.Member], seconds: float, display: Display) -> List[Tally]:
        frozen.extend(members)
        os.kill(members[0].process.pid or 0, signal.SIGSTOP)
        return collect(members, seconds, display)

    monkeypatch.setattr(demo, "_collect", collect_from_frozen)
    monkeypatch.setattr(demo, "GRACE", 0.1)
    monkeypatch.setattr(crew, "PARTING", 0.1)
    assert main(BRIEF) == 1
    assert "WRONG: 1 dead writers" in capsys.readouterr().out.splitlines()
    assert [member.process.exitcode for member in frozen] == [-signal.SIGKILL]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_refused_records_are_errors_and_leave_no_trace_but_blank_lines(tmp_path: Path) -> None:
    limited = (
        "import resource, sys; from concurrent_log_handler.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "sys.exit(main(sys.argv[1:]))"
    )
    options = ["--seconds", "1", "--processes", "1", "--directory", str(tmp_path / "logs")]
    ended = run_program([sys.executable, "-c", limited, "demo", *options])
    told = totals(ended.stdout)
    records, errors = told["records"], told["errors"]
    assert ended.returncode == 1
    assert min(records, errors) > 0
    assert [told[fault] for fault in ("lost", "doubled", "torn", "misordered", "unacknowledged")] == [0] * 5
    assert [told[fault] for fault in ("stray files", "dead writers")] == [0] * 2
    *_, verdict = ended.stdout.split("\n\n")
    # PyPy goes on with the rest of its arguments.
    told_why = f"  w01: OSError({errno.EFBIG}, {os.strerror(errno.EFBIG)!r}"
    assert any(line.startswith(told_why) for line in verdict.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="signals a process group")
def test_an_interrupt_ends_it_without_a_word_too_many_or_a_file(scratch: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "60", "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,
        # A shell that starts the tests in the background has them ignore it, and what they start as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("logging: ")
    os.killpg(running.pid, signal.SIGINT)
    output, errors = running.communicate()
    assert (running.returncode, output, errors) == (130, "", "interrupted\n")
    assert list(scratch.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").touch()
    assert main([*BRIEF, "--directory", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"clh demo: {tmp_path} is not empty\n"
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["demo", "--processes", "0"],
        ["demo", "--processes", "two"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "inf"],
        ["demo", "--seconds", "nan"],
        ["demo", "--max-bytes", "-1"],
        ["demo", "--max-bytes", "1X"],
        ["demo", "--max-bytes", ""],
    ],
)
def test_wrong_arguments_are_refused(arguments: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clh")


def test_the_version_is_told() -> None:
    ended = run_program([*COMMAND, "--version"])
    assert (ended.returncode, ended.stdout) == (0, f"concurrent-log-handler {__version__}\n")


PLAN = Plan(Path("logs/app.log"), 5.0, 1_000_000)


def test_the_report_of_a_clean_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    tallies = [
        Tally(Account(1, 76_543), 5.0004, 0.0000125, 0.01421),
        Tally(Account(12, 1_076_543), 5.001, 0.0000137, 1.01421),
    ]
    found = Reckoning(acknowledged=1_153_086, records=1_153_086, size=212_345_678, files=213, backups=212)
    assert (
        demo.report(PLAN, tallies, found)
        == """\
2 processes on 4 CPUs, 5 s, one app.log, rotated at 1,000,000 bytes

  records          1,153,086
  records/s          230,573
  bytes          212,345,678
  files                  213
  rotations              212
  lost                     0
  doubled                  0
  torn                     0
  blank lines              0
  misordered               0
  unacknowledged           0
  errors                   0
  stray files              0
  dead writers             0

  process     records   records/s   median call   slowest call
  w01          76,543      15,307      0.013 ms       14.21 ms
  w12       1,076,543     215,266      0.014 ms     1014.21 ms

Every record is there: once, whole and in order."""
    )


def test_the_report_of_a_run_with_every_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    tallies = [
        Tally(
            Account(1, 10, refused=(2, 5)), 2.0, 0.0000125, 0.01421, "OSError(28, 'No space left on device')"
        ),
        Tally(Account(2, 7), ended=False),
    ]
    found = Reckoning(15, 18, 1_000, 1, 0, 1, 1_002, 3, 6, 4, 5, ("x.tmp",), ("app.log, line 1: torn",))
    assert (
        demo.report(PLAN._replace(max_bytes=0, seconds=0.5), tallies, found)
        == """\
2 processes on ? CPUs, 0.5 s, one app.log, not rotated

  records                 15
  records/s                4
  bytes                1,000
  files                    1
  rotations                0
  lost                     1
  doubled              1,002
  torn                     3
  blank lines              6
  misordered               4
  unacknowledged           5
  errors                   2
  stray files              1
  dead writers             1

  process     records   records/s   median call   slowest call
  w01               8           4      0.013 ms       14.21 ms
  w02               7           0      0.000 ms        0.00 ms

  app.log, line 1: torn
  stray file: x.tmp
  w01: OSError(28, 'No space left on device')
WRONG: 1 lost, 1,002 doubled, 3 torn, 6 blank lines, 4 misordered, 5 unacknowledged, 2 errors, 1 stray files, 1 dead writers"""
    )
