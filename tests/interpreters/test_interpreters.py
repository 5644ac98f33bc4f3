"""The tests of units, compatibility and processes on every other Python at hand, each in an environment of its own.

As a rule those of what differs most among Pythons; all, if CLH_ALL_ON_EVERY_PYTHON is 1.
"""

import contextlib
import fcntl
import functools
import os
import shlex
import sys
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Set

import pytest

from support.interpreters import Interpreter, interpreters
from support.programs import run_program

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
ALL = os.environ.get("CLH_ALL_ON_EVERY_PYTHON") == "1"
ALL_GROUPS = ("tests/unit", "tests/compat", "tests/processes")
WHAT_DIFFERS = (
    "tests/unit/test_import.py",
    "tests/unit/test_naming.py",
    "tests/unit/test_state.py",
    "tests/compat/test_configuration.py",
    "tests/compat/test_pickling.py",
    "tests/processes/test_fork.py",
)
SELECTION = ALL_GROUPS if ALL else WHAT_DIFFERS
ELSEWHERE = "tests/compat/test_standard_library.py"
"""Runs on all of them by itself."""
TOO_LONG = "tests/compat/test_pickling.py::test_a_duplicate_writes_what_the_original_would"
"""Left out of those few."""
NEEDS = {"tests/unit/test_benchmarks.py": (3, 8)}
"""Tests of what only developers run, and from which Python on."""
PACKAGES = ("hypothesis", "pytest>=7", "pytest-timeout>=2")
LONGEST = 3_600 if ALL else 300

PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


class Outcome(NamedTuple):
    """What became of the tests."""

    ran: "Counter[str]"
    """How many there were in each file, those that were skipped included."""
    failed: List[str]
    files_with_passes: Set[str]


def settings(config: pytest.Config, folder: Path) -> Path:
    """Write the settings that pytest runs with here, less those that old ones do not know; return where."""
    lines = {
        "addopts": [" ".join(map(shlex.quote, config.getini("addopts")))],
        "pythonpath": [shlex.quote(str(path)) for path in config.getini("pythonpath")],
        "filterwarnings": config.getini("filterwarnings"),
        "xfail_strict": [str(config.getini("xfail_strict"))],
        "timeout": [str(config.getini("timeout"))],
    }
    path = folder / "pytest.ini"
    text = "".join("\n    ".join([f"{name} =", *values]) + "\n" for name, values in lines.items())
    path.write_text("[pytest]\n" + text, encoding="utf-8")
    return path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep others that run these tests from making the same environment."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment(interpreter: Interpreter, folder: Path) -> Path:
    """Return the Python of an environment with what the tests need, made by the first who asks for it."""
    home = folder / f"{interpreter.name}-{zlib.crc32(interpreter.build.encode()):08x}"
    made = home / "made-for"
    made_for = "\n".join([str(interpreter.path), str(SOURCE), *PACKAGES])
    with alone(folder / f"{home.name}.lock"):
        if not made.exists() or made.read_text(encoding="utf-8") != made_for:
            make_environment(interpreter, home)
            made.write_text(made_for, encoding="utf-8")
    return home / "bin" / "python"


def make_environment(interpreter: Interpreter, home: Path) -> None:
    """Make one; skip the test by the name of what is not to be had."""
    python = str(home / "bin" / "python")
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--only-binary", ":all:"]
    steps = {"venv": [str(interpreter.path), "-m", "venv", "--clear", str(home)]}
    if interpreter.version < (3, 7):  # its own pip takes what is too new for it
        steps["pip"] = [*install, "pip>=21.3,<22"]
    steps["pytest"] = [*install, *PACKAGES]
    for name, command in steps.items():
        ended = run_program(command, timeout=LONGEST)
        if ended.returncode:
            why = (ended.stderr or ended.stdout).strip().rpartition("\n")[2]
            pytest.skip(f"no {name} for {interpreter.name} at {interpreter.path}: {why}")
    folder = Path(run_program([python, "-c", PURELIB]).stdout.strip())
    (folder / "source.pth").write_text(f"{SOURCE}\n", encoding="utf-8")


def run_tests(
    python: Path, inifile: Path, *options: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    command = [
        str(python),
        "-m",
        "pytest",
        "-c",
        str(inifile),
        "--rootdir",
        str(ROOT),
        "-p",
        "no:cacheprovider",
    ]
    left_out = [f"--ignore={ELSEWHERE}"] if ALL else [f"--deselect={TOO_LONG}"]
    command += [*left_out, *options, *SELECTION]
    # What the pytest that runs here, and what measures it, tell their own children.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    return run_program(command, timeout=LONGEST, cwd=ROOT, env={**kept, **variables})


@functools.lru_cache(maxsize=None)
def number_by_file(inifile: Path) -> Dict[str, int]:
    """Return how many tests each file has on the Python that runs here."""
    ended = run_tests(Path(sys.executable), inifile, "--collect-only", "-qq")
    counts = [line.rpartition(": ") for line in ended.stdout.splitlines() if ".py: " in line]
    return {name: int(count) for name, _, count in counts}


def outcome(report: Path) -> Outcome:
    """Read what pytest has written about each test."""
    found = Outcome(Counter(), [], set())
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
        module = case.get("classname")
        if not module:  # a file that was skipped as a whole
            continue
        file = module.replace(".", "/") + ".py"
        found.ran[file] += 1
        if case.find("failure") is not None or case.find("error") is not None:
            found.failed.append(f"{file}::{case.get('name')}")
        elif case.find("skipped") is None:
            found.files_with_passes.add(file)
    return found


@pytest.mark.timeout(2 * LONGEST)
@pytest.mark.parametrize("interpreter", interpreters()[1:], ids=lambda each: each.name)
def test_the_package_is_right_on(
    interpreter: Interpreter, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    assert pytestconfig.cache is not None
    python = environment(interpreter, pytestconfig.cache.mkdir("interpreters"))
    inifile, report = settings(pytestconfig, tmp_path), tmp_path / "report.xml"
    variables = {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")}
    if interpreter.free_threaded:
        variables["PYTHON_GIL"] = "0"
    options = [f"--basetemp={tmp_path / 'folders'}", f"--junitxml={report}", "-q"]
    ended = run_tests(python, inifile, *options, **variables)
    assert ended.returncode == 0, ended.stdout[-50_000:] + ended.stderr
    found = outcome(report)
    expected = {
        name: count
        for name, count in number_by_file(inifile).items()
        if interpreter.version >= NEEDS.get(name, (3, 6))
    }
    assert expected
    assert (found.failed, found.ran) == ([], expected)
    assert found.files_with_passes == set(expected)
