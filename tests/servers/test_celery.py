"""Celery by its recipe: a worker with four processes, and a real Redis."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.children import LONG
from support.recipes import cook
from support.servers import (
    CHANGES,
    Port,
    Servers,
    answer,
    assert_orders,
    assert_silent,
    lines_of,
    read_log,
    require_package,
    require_program,
)

TASKS = 400
MODULE = """
from celery.utils.log import get_task_logger

from celery_app import app
from shop import orders

@app.task
def order(number):
    get_task_logger("shop.tasks").info("task %d", number)
    return orders.take(number)
"""
CLIENT = f"""
from celery import group
from tasks import order

print(*group(order.s(number) for number in range(1, {TASKS} + 1))().get(timeout={LONG}), sep="\\n")
"""
RECEIVED = re.compile(r"Task tasks\.order\[([0-9a-f-]{36})\] received")
SUCCEEDED = re.compile(r"Task tasks\.order\[([0-9a-f-]{36})\] succeeded in .*")


# With few tasks for each process, processes are forked while the worker logs.
@pytest.mark.parametrize(("options", "least"), [((), 2), (("--max-tasks-per-child", "20"), 20)])
def test_every_task_is_logged_once(servers: Servers, home: Path, options: str, least: int) -> None:
    require_package("celery", "redis")
    redis_server = require_program("redis-server")
    redis = Port()
    where = ("--bind", "127.0.0.1", "--port", str(redis.number), "--dir", str(home))
    servers.start(redis_server, *where, "--save", "", "--appendonly", "no", port=redis)
    cook("The dictionary", home, CHANGES)
    cook("Celery", home, {"127.0.0.1:6379": str(redis)})
    (home / "tasks.py").write_text(MODULE, encoding="utf-8")
    (home / "client.py").write_text(CLIENT, encoding="utf-8")
    command = (sys.executable, "-m", "celery", "--app", "celery_app", "worker", "--concurrency", "4")
    worker = servers.start(*command, *options)
    done = subprocess.run(
        [sys.executable, "client.py"], cwd=home, capture_output=True, text=True, check=False, timeout=2 * LONG
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert worker.stop() == 0
    assert_silent(worker.output())

    answers = [answer(line) for line in done.stdout.splitlines()]
    assert sorted(each.number for each in answers) == list(range(1, TASKS + 1))
    assert len({each.pid for each in answers}) >= least
    log = read_log(home / "logs")
    assert (log.rotations > 1, log.compressed > 0) == (True, True)
    lines = lines_of(log.lines)
    assert_orders(lines, answers)
    tasks = sorted((line.message, line.pid) for line in lines if line.logger == "shop.tasks")
    assert tasks == sorted((f"task {each.number}", each.pid) for each in answers)
    for form in (RECEIVED, SUCCEEDED):
        found = [match[1] for match in (form.fullmatch(line.message) for line in lines) if match]
        assert (len(found), len(set(found))) == (TASKS, TASKS)
