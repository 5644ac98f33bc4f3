"""Threads that run at the same time, as in a build without the global lock, log through one handler or many."""

import gzip
import json
from pathlib import Path

import pytest

from concurrent_log_handler.cli.reckoning import Account
from support.folder import HELPERS, LIVE, assert_every_record_once
from support.interpreters import Interpreter, interpreters
from support.programs import run_program
from support.records import EVEN, even

ROOT = Path(__file__).resolve().parents[2]
THREADS = 8
RECORDS = 4_000
FULL = 500
"""Records in a full file."""

PROGRAM = """
import json, sys, threading
from support.records import even
from support.writers import Scribe, WatchedHandler

path, threads, handlers, records, max_bytes = json.loads(sys.argv[1])
options = {"maxBytes": max_bytes, "backupCount": 100_000, "use_gzip": True}
made = [WatchedHandler(path, **options) for _ in range(handlers)]
scribes = [Scribe(made[number % handlers], number + 1) for number in range(threads)]
together = threading.Barrier(threads)

def log(scribe):
    together.wait()
    scribe.log(records)

running = [threading.Thread(target=log, args=(scribe,)) for scribe in scribes]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
waited = [handler.wait_for_upkeep(60) for handler in made]
for handler in made:
    handler.close()
said = [text for handler in made for text in handler.failures + handler.reports]
print(json.dumps([waited, said, sum(handler.num_rollovers for handler in made), sys._is_gil_enabled()]))
"""

NONE = pytest.param(
    None, marks=pytest.mark.skip(reason="no free-threaded Python (python3.13t or later) at hand")
)
FREE = [pytest.param(each, id=each.name) for each in interpreters() if each.free_threaded] or [NONE]


@pytest.mark.parametrize("handlers", [1, THREADS])
@pytest.mark.parametrize("interpreter", FREE)
def test_eight_threads_log_at_once(interpreter: Interpreter, handlers: int, live: Path) -> None:
    given = [str(live), THREADS, handlers, RECORDS, FULL * EVEN]
    command = [str(interpreter.path), "-X", "gil=0", "-W", "error", "-c", PROGRAM, json.dumps(given)]
    ended = run_program(command, env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"})
    assert (ended.returncode, ended.stderr) == (0, "")
    waited, said, rotations, has_gil = json.loads(ended.stdout)
    assert (waited, said, has_gil) == ([True] * handlers, [], False)
    old = {each.name: each for each in live.parent.iterdir() if each.name not in {LIVE, *HELPERS}}
    assert set(old) == {f"{LIVE}.{number}.gz" for number in range(1, rotations + 1)}
    for path in old.values():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    accounts = [Account(number, RECORDS) for number in range(1, THREADS + 1)]
    assert_every_record_once(live, accounts, even, FULL * EVEN)
