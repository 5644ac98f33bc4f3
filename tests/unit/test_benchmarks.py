"""The benchmarks' arithmetic, on figures made up here, and their command lines; no time is judged."""

import importlib
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

from support.programs import run_program

if sys.version_info < (3, 8):
    pytest.skip("the benchmarks are written for Python 3.8 and later", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = ("record_cost", "processes_throughput", "backup_count", "compressed_log", "import_time")


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark as it imports its neighbours: from its own folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give out what the benchmarks share."""
    return script("common", monkeypatch)


def call(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a benchmark as a user does."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    return run_program(command, timeout=120, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_tells_the_common_options(name: str) -> None:
    done = call(name, "--help")
    assert done.returncode == 0, done.stdout
    for option in ("--directory", "--json", "--quick", "--rival-directory"):
        assert option in done.stdout


def test_record_cost_runs_with_the_standard_library_alone(tmp_path: Path) -> None:
    arguments = ("--rounds", "2", "--records", "20", "--rivals", "os.write", "--directory", str(tmp_path))
    done = call("record_cost", *arguments)
    assert done.returncode == 0, done.stdout
    rows = [line.split()[0] for line in done.stdout.splitlines()[4:]]
    assert rows == ["os.write", "FileHandler"]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_start_ends_the_run_in_one_piece(tmp_path: Path) -> None:
    done = call("record_cost", "--quick", "--rivals", "atomic", "--package-directory", str(tmp_path))
    assert done.returncode == 1
    assert "error: the worker for atomic failed" in done.stdout


# -- interleaving --------------------------------------------------------------------------------------


def test_interleave_measures_everything_once_per_round(common: Any) -> None:
    order: List[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    results = common.interleave(["a", "b", "c"], 12, measure)
    assert {name: len(values) for name, values in results.items()} == {"a": 12, "b": 12, "c": 12}
    rounds = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert sorted(value for values in results.values() for value in values) == list(range(1, 37))


def test_interleave_gives_everyone_every_place_equally_often(common: Any) -> None:
    order: List[str] = []
    common.interleave(["a", "b", "c"], 6, order.append)
    places = [order[start : start + 3] for start in range(0, len(order), 3)]
    for name in "abc":
        assert sorted(place.index(name) for place in places) == [0, 0, 1, 1, 2, 2]


# -- statistics ----------------------------------------------------------------------------------------


def test_quartiles_hold_the_middle_half(common: Any) -> None:
    assert common.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)
    assert common.quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_what_is_certain_of_a_median_narrows_with_the_rounds(common: Any) -> None:
    assert common.certain([7.0]) == (7.0, 7.0, 7.0)
    assert common.certain([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    # Of 100 rounds the 41st and the 61st: 94 to 96 % of all samples have the true median between these.
    assert common.certain(list(range(100))) == (40, 49.5, 60)


def test_what_is_certain_of_a_median_is_so_in_95_of_100_runs(common: Any) -> None:
    dice = random.Random(2)  # noqa: S311 - the same in every run
    runs = [common.certain([dice.expovariate(math.log(2)) for _ in range(50)]) for _ in range(2000)]
    held = sum(run.low <= 1.0 <= run.high for run in runs) / len(runs)
    assert held >= 0.94


def test_rounds_are_subtracted_and_divided_in_pairs(common: Any) -> None:
    assert common.differences([5.0, 7.0], [1.0, 2.0]) == [4.0, 5.0]
    assert common.ratios([6.0, 8.0], [2.0, 4.0]) == [3.0, 2.0]
    with pytest.raises(common.BenchmarkError):
        common.differences([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_percentile_is_a_value_that_was_measured(common: Any, share: float, expected: int) -> None:
    assert common.percentile(range(1, 101), share) == expected


def test_a_machine_that_slows_down_changes_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    record_cost = script("record_cost", monkeypatch)
    rounds = {
        "FileHandler": [record_cost.Round(12.0 * pace, 10.0 * pace) for pace in (1, 3, 9)],
        "atomic": [record_cost.Round(11.0 * pace, 10.0 * pace) for pace in (1, 3, 9)],
    }
    rows = {row.name: row for row in record_cost.summarize(rounds)}
    assert rows["atomic"].cost == (2.0, 3.0, 6.0)
    assert rows["atomic"].ratio == (0.5, 0.5, 0.5)
    assert "at most 1.00" in record_cost.table(list(rows.values()))
    assert "at most" not in record_cost.table(list(rows.values()), {})
    assert record_cost.samples(rounds)["atomic (formatting only)"] == pytest.approx([1e-8, 3e-8, 9e-8])


def test_reading_back_tells_lost_doubled_and_torn_records(monkeypatch: pytest.MonkeyPatch) -> None:
    throughput = script("processes_throughput", monkeypatch)

    def line(writer: int, number: int) -> str:
        text = throughput.MESSAGE % (writer, number, "Zoë Łukasiewicz", 7, 12.5)
        return f"2026-11-22 14:06:00,123 INFO [4711] shop.orders: {text}\n"

    lines = [line(0, 0), line(0, 1), line(1, 0), line(1, 0), line(1, 1)[:40] + "\n", line(1, 2)[30:]]
    assert throughput.read_back(lines, [2, 3], 7) == (5, 7, 2, 1, 2)
    assert throughput.latency([4, 1, 3, 2]) == (2, 4, 4, 4)


def test_import_time_is_compared_with_the_import_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import_time = script("import_time", monkeypatch)
    base = [import_time.Import(0.010 * pace, 1, 1, "") for pace in (1, 2, 3)]
    ours = [import_time.Import(0.010 * pace + 0.005, 1, 2, "") for pace in (1, 2, 3)]
    rows = import_time.table({import_time.BASE: base, "atomic": ours}).splitlines()
    row = " ".join(rows[3].split())
    assert row == "concurrent_log_handler, this 25.00 5.00 5.00 .. 5.00 at most 20 0 1"


def test_a_call_that_waited_counts_whatever_else_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    backup_count = script("backup_count", monkeypatch)
    assert not backup_count.is_disturbed((1, 1), (1, 1))
    assert backup_count.is_disturbed((1, 1), (2, 1))
    assert not backup_count.is_disturbed((1, 1), (1, 2))
    assert not backup_count.is_disturbed((1, 1), (2, 2))


def test_many_backups_are_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    backup_count = script("backup_count", monkeypatch)
    waits = {
        "atomic, no rotation": [backup_count.Wait(1e5, 0)],
        "atomic, 5 backups": [backup_count.Wait(2e5, 3e5)],
        "atomic, 1,000 backups": [backup_count.Wait(3e5, 9e6)],
    }
    rows = backup_count.wait_table(waits).splitlines()
    assert rows[4].split()[3:] == ["300", "300", "..", "300", "300", "1.50", "1.50", "..", "1.50", "9,000"]
    rollovers = {
        ("atomic", 5): [backup_count.Rollover(1e5, 2e5)],
        ("atomic", 99_999): [backup_count.Rollover(1e5, 4e5)],
    }
    rows = backup_count.rollover_table(rollovers).splitlines()
    assert [row.split()[-4] for row in rows[2:]] == ["1.00", "2.00"]


# -- output --------------------------------------------------------------------------------------------


def test_table_is_aligned(common: Any) -> None:
    text = common.format_table(("rival", "ns"), [("a", "1,000"), ("longer", "7")])
    assert text == "rival      ns\n------  -----\na       1,000\nlonger      7"


def test_a_package_from_the_wrong_folder_is_refused(
    common: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "PACKAGE", "json")
    monkeypatch.setattr(sys, "path", sys.path[:])
    with pytest.raises(common.BenchmarkError, match="json was imported from"):
        common.use_folder(tmp_path)
