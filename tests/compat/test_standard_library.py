"""The standard library's own tests of its two handlers, with ours in their place, on every Python at hand."""

import json
import os
from pathlib import Path
from typing import Any, Dict, NamedTuple

import pytest

from support.interpreters import Interpreter, interpreters
from support.programs import run_program

SOURCE = Path(__file__).parents[2] / "src"


class Difference(NamedTuple):
    """What 0.9.x documents, and the standard library does not do."""

    reason: str
    fails_at: str
    """The line of the test that tells; all before it has passed."""


SIZE_BEFORE_THE_RECORD = "maxBytes is what the file has before a record; the record's own size does not count"
IT_IS_NOT_CALLED = (
    "old files are deleted, and the live one is opened, by other calls: their failures are tested elsewhere"
)
EACH_PERIOD_HAS_ITS_FILES = "a period of which there is a backup already is not merged with the next one"
OPENED_BY_THE_FIRST_RECORD = "delay is ignored: there is no file before the first record"
DIFFERENCES = {
    "RotatingFileHandlerTest.test_should_rollover": Difference(
        SIZE_BEFORE_THE_RECORD, "self.assertTrue(rh.shouldRollover(self.next_rec()))"
    ),
    "RotatingFileHandlerTest.test_max_bytes": Difference(
        OPENED_BY_THE_FIRST_RECORD, "self.assertIs(os.path.exists(self.fn), not delay)"
    ),
    "RotatingFileHandlerTest.test_max_bytes_delay": Difference(
        SIZE_BEFORE_THE_RECORD, "self.assertTrue(rh.shouldRollover(large))"
    ),
    "TimedRotatingFileHandlerTest.test_rollover_after_failed_rollover": Difference(
        IT_IS_NOT_CALLED, "failed.assert_called_once()"
    ),
    "TimedRotatingFileHandlerTest.test_rollover_existing_backup": Difference(
        EACH_PERIOD_HAS_ITS_FILES, "self.assertEqual(f.read(), 'a\\nb\\n')"
    ),
}

# Runs on all of them, so in the language of 3.6. Warnings become errors late, because the tests of some
# versions import what is deprecated there. The device is reached by a link, because a handler that gets this wrong renames it: 0.9.31 does, run by root.
PROGRAM = """
import json, logging.handlers, os, sys, unittest, warnings
import concurrent_log_handler as ours
from concurrent_log_handler import logfile

# The tests set the clock forward: it is looked at with each record.
logfile.LEASE = 0.0

def name_of(test):
    whole = getattr(test, "test_case", test)  # of which this may be a part
    return whole.id()[len("test.test_logging."):]

def outcome():
    try:
        from test import test_logging
    except (ImportError, unittest.SkipTest) as error:
        return {"missing": repr(error)}
    warnings.simplefilter("error")
    logging.handlers.RotatingFileHandler = ours.ConcurrentRotatingFileHandler
    logging.handlers.TimedRotatingFileHandler = ours.ConcurrentTimedRotatingFileHandler
    cases = [test_logging.RotatingFileHandlerTest, test_logging.TimedRotatingFileHandlerTest]
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    tests = [name_of(test) for case in suite for test in case]
    result = unittest.TestResult()
    os.devnull = sys.argv[2]
    suite.run(result)
    return {
        "source": ours.__file__,
        "tests": tests,
        "skipped": [name_of(test) for test, _ in result.skipped],
        "failed": {name_of(test): trace for test, trace in result.failures + result.errors},
    }

with open(sys.argv[1], "w") as stream:
    json.dump(outcome(), stream)
"""


def outcome_on(interpreter: Interpreter, tmp_path: Path) -> Dict[str, Any]:
    """Run the tests; say what became of them, and what was said to the user."""
    for name in ("logs", "devices"):
        (tmp_path / name).mkdir()
    device = tmp_path / "devices" / "null"
    device.symlink_to(os.devnull)
    answer = tmp_path / "outcome.json"
    command = [str(interpreter.path), "-B", "-c", PROGRAM, str(answer), str(device)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path / "logs")}
    ended = run_program(command, timeout=100, cwd=tmp_path, env=environment)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return {**json.loads(answer.read_text()), "said": said}


def assert_only_helpers_are_left(tmp_path: Path) -> None:
    """Assert that both handlers have been there, and have cleared up: only the timed one notes a time."""
    left = {each.name: each for each in (tmp_path / "logs").iterdir()}
    locks = {name[: -len(".lock")]: path.read_text() for name, path in left.items() if name.endswith(".lock")}
    assert set(left) == {stem + ending for stem in locks for ending in (".lock", ".state")}
    assert {content.isdigit() for content in locks.values()} == {True, False}
    devices = list((tmp_path / "devices").iterdir())
    assert [(each.name, each.is_char_device()) for each in devices] == [("null", True)]


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda each: each.name)
def test_ours_pass_the_tests_of_the_standard_handlers(interpreter: Interpreter, tmp_path: Path) -> None:
    outcome = outcome_on(interpreter, tmp_path)
    if "missing" in outcome:
        pytest.skip(f"{interpreter.name} at {interpreter.path} lacks test.test_logging: {outcome['missing']}")
    assert Path(outcome["source"]).parent == SOURCE / "concurrent_log_handler"
    failed = outcome["failed"]
    differences = (set(outcome["tests"]) - set(outcome["skipped"])) & set(DIFFERENCES)
    unexpected = [f"{name}\n{trace}" for name, trace in failed.items() if name not in differences]
    assert not unexpected, "\n".join(unexpected)
    assert differences - set(failed) == set(), "no difference any more"
    for name in differences:
        assert DIFFERENCES[name].fails_at in failed[name], failed[name]
    assert outcome["said"] == ""
    assert_only_helpers_are_left(tmp_path)
