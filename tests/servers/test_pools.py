"""Processes that others start, by the recipes: pools, schedulers, and programs that live for a moment."""

import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from support.children import LONG
from support.recipes import cook
from support.servers import (
    CHANGES,
    FULL,
    Line,
    answer,
    assert_orders,
    assert_silent,
    lines_of,
    read_log,
    require_package,
    stocked,
)

CONFIGURE = "    dictConfig(LOGGING)\n"
STOCK_UP = CONFIGURE + "    from shop import orders\n    orders.stock_up()\n"
TAKE = {"from shop.orders import take": "from shop.orders import take_in_company as take"}
METHODS = ["fork", "spawn", "forkserver"]
ORDERS = 1_000


def run(home: Path, program: str) -> List[Line]:
    """Run a program that prints the answers to its orders; return what it has logged."""
    done = subprocess.run(
        [sys.executable, program], cwd=home, capture_output=True, text=True, check=False, timeout=2 * LONG
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [answer(line) for line in done.stdout.splitlines()]
    log = read_log(home / "logs")
    assert (log.rotations > 1, log.compressed > 0) == (True, True)
    lines = lines_of(log.lines)
    assert sorted(each.number for each in answers) == list(range(1, len(answers) + 1))
    assert_orders(lines, answers)
    assert len({each.pid for each in answers}) > 1
    assert len(stocked(lines)) == 1
    return lines


def started_by(method: str) -> str:
    return f"{STOCK_UP}    import multiprocessing\n    multiprocessing.set_start_method({method!r})\n"


@pytest.mark.parametrize("method", METHODS)
def test_the_processes_of_a_pool_configure_themselves(home: Path, method: str) -> None:
    cook("The dictionary", home, CHANGES)
    cook("concurrent.futures", home, {CONFIGURE: started_by(method), **TAKE})
    lines = run(home, "main.py")
    assert len(lines) == ORDERS + 200


@pytest.mark.parametrize("method", METHODS)
def test_the_processes_of_a_pool_are_handed_the_handler(home: Path, method: str) -> None:
    take_over = "def take_over(handler):\n    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)\n"
    changes = {
        CONFIGURE: started_by(method),
        **TAKE,
        "if __name__": f"import logging\n\n\n{take_over}\n\nif __name__",
        "initializer=dictConfig, initargs=(LOGGING,)": "initializer=take_over, initargs=(logging.root.handlers[0],)",
    }
    cook("The dictionary", home, CHANGES)
    cook("concurrent.futures", home, changes)
    lines = run(home, "main.py")
    assert len(lines) == ORDERS + 200


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblib(home: Path, backend: str) -> None:
    require_package("joblib")
    cook("The dictionary", home, CHANGES)
    cook("joblib", home, {CONFIGURE: STOCK_UP, **TAKE, '"loky"': f'"{backend}"'})
    lines = run(home, "main.py")
    assert len(lines) == ORDERS + 200


JOBS = r"""
    from threading import Semaphore

    from apscheduler.events import EVENT_JOB_EXECUTED

    done = Semaphore(0)

    def tell(event):
        sys.stdout.write(event.retval + "\n")
        done.release()

    scheduler.add_listener(tell, EVENT_JOB_EXECUTED)
    for number in range(1, 401):
        executor = ["default", "processes"][number % 2]
        scheduler.add_job(orders.take, args=[number], executor=executor, misfire_grace_time=None)
    for _ in range(400):
        assert done.acquire(timeout=30)
    scheduler.shutdown()
"""


def test_jobs_in_threads_and_in_processes(home: Path) -> None:
    require_package("apscheduler")
    cook("The dictionary", home, CHANGES)
    cook("APScheduler", home, {CONFIGURE: STOCK_UP + "    import sys\n"})
    with (home / "jobs.py").open("a", encoding="utf-8") as stream:
        stream.write(JOBS)
    lines = run(home, "jobs.py")
    assert len([line for line in lines if line.logger == "shop"]) == 400
    assert {line.logger.split(".")[0] for line in lines} == {"shop", "apscheduler"}


PROGRAMS = 200
JOB = r"""
import sys

from shop.orders import take

for number in range(5):
    sys.stdout.write(take(int(sys.argv[1]) + number) + "\n")
"""


def test_200_short_lived_programs_rotate_no_more_than_there_is_to_rotate(home: Path) -> None:
    cook("The dictionary", home, CHANGES)
    cook("cron", home, {})
    with (home / "job.py").open("a", encoding="utf-8") as stream:
        stream.write(JOB)
    with (home / "output").open("ab") as output:
        programs = [
            subprocess.Popen(
                [sys.executable, "job.py", str(5 * number + 1)], cwd=home, stdout=output, stderr=output
            )
            for number in range(PROGRAMS)
        ]
    assert [program.wait(2 * LONG) for program in programs] == [0] * PROGRAMS
    printed = (home / "output").read_text(encoding="utf-8")
    assert_silent(printed)
    answers = [answer(line) for line in printed.splitlines()]
    assert sorted(each.number for each in answers) == list(range(1, 5 * PROGRAMS + 1))
    assert {each.pid for each in answers} == {program.pid for program in programs}
    log = read_log(home / "logs")
    assert_orders(lines_of(log.lines), answers)
    size = sum(len(line) + 1 for line in log.lines)
    assert 0 < log.rotations <= size // FULL
