"""structlog, python-json-logger and loguru on top, by their recipes: each record of three processes is there once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from support.children import LONG
from support.recipes import cook
from support.servers import CHANGES, lines_of, read_log, require_package

WRITERS = 3
RECORDS = 300
EXPECTED = sorted((writer, number) for writer in range(WRITERS + 1) for number in range(RECORDS))
# The first writer is the process itself: what is forked from it inherits a log in use.
MAIN = """
import multiprocessing
import sys

if __name__ == "__main__":
    multiprocessing.set_start_method("{method}")

{log}

def work(writer, logger):
    if logger is not None:
        globals()["logger"] = logger
    for number in range({records}):
        log(writer, number)

if __name__ == "__main__":
    work(0, None)
    processes = [multiprocessing.Process(target=work, args=(1 + writer, {argument})) for writer in range({writers})]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
"""
STRUCTLOG = """
import logging
from logging.config import dictConfig
import structlog
from log_settings import LOGGING

dictConfig(LOGGING)
ours = structlog.get_logger("shop")
foreign = logging.getLogger("else")

def log(writer, number):
    if number % 3:
        ours.info("order", writer=writer, number=number, filler="." * 300)
    else:
        foreign.info("%d %d", writer, number)
"""
JSON_LOGGER = """
import logging
from logging.config import dictConfig
from log_settings import LOGGING

dictConfig(LOGGING)

def log(writer, number):
    extra = {"writer": writer, "number": number, "filler": "." * 300}
    logging.getLogger("shop").info("order\\n%d", number, extra=extra)
"""
LOGURU = """
from log_settings import logger

def log(writer, number):
    logger.info("order {} {} {}", writer, number, "." * 300)
"""


def run(home: Path, log: str, method: str = "fork", argument: str = "None") -> List[str]:
    """Have processes log; return the lines."""
    code = MAIN.format(log=log, method=method, argument=argument, records=RECORDS, writers=WRITERS)
    (home / "main.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=home, capture_output=True, text=True, check=False, timeout=2 * LONG
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    read = read_log(home / "logs")
    assert (read.rotations > 1, read.compressed > 0) == (True, True)
    return read.lines


def test_structlog_and_what_others_log_beside_it(home: Path) -> None:
    require_package("structlog")
    cook("structlog", home, CHANGES)
    found = []
    for record in map(json.loads, run(home, STRUCTLOG)):
        if record["logger"] == "else":
            writer, number = map(int, record["event"].split())
            assert set(record) == {"event", "logger", "level", "timestamp"}
        else:
            writer, number = record["writer"], record["number"]
            assert (record["event"], record["level"], record["filler"]) == ("order", "info", "." * 300)
        found.append((writer, number))
    assert sorted(found) == EXPECTED


def test_python_json_logger(home: Path) -> None:
    require_package("pythonjsonlogger")
    cook("python-json-logger", home, CHANGES)
    records = [json.loads(line) for line in run(home, JSON_LOGGER)]
    assert sorted((each["writer"], each["number"]) for each in records) == EXPECTED
    assert [each for each in records if each["message"] != f"order\n{each['number']}"] == []
    assert len({each["process"] for each in records}) == WRITERS + 1


@pytest.mark.parametrize("enqueue", [False, True])
def test_loguru_in_forked_processes(home: Path, enqueue: bool) -> None:
    require_package("loguru")
    add = "logger.add(handler, "
    cook("loguru", home, loguru_changes({add: f"{add}enqueue={enqueue}, "}))
    assert loguru_records(run(home, LOGURU)) == EXPECTED


def test_loguru_handed_to_spawned_processes(home: Path) -> None:
    require_package("loguru")
    cook("loguru", home, loguru_changes({}))
    # Its configuration is made in the first process only; the handler travels with the logger.
    log = """
if __name__ == "__main__":
    from log_settings import logger

def log(writer, number):
    logger.info("order {} {} {}", writer, number, "." * 300)
"""
    lines = run(home, log, method="spawn", argument="logger")
    assert loguru_records(lines) == EXPECTED


def loguru_changes(more: Dict[str, str]) -> Dict[str, str]:
    sizes = {old: new for old, new in CHANGES.items() if "backupCount" not in old}
    return {**sizes, "backupCount=30": "backupCount=1000", **more}


def loguru_records(lines: List[str]) -> List[Tuple[int, int]]:
    found = []
    for line in lines_of(lines):
        order, writer, number, filler = line.message.split()
        assert (order, filler) == ("order", "." * 300)
        found.append((int(writer), int(number)))
    return sorted(found)
