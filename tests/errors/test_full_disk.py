"""A disk that is really full: a small file system of its own, several processes, and space again after a while.

A script runs the writers, and hands out what they did and what is on the disk; the assertions are out here.
"""

import json
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Set

import pytest

from support.disks import small_disk
from support.programs import run_program

SCRIPT = '''
import json, logging, os, subprocess, sys

from concurrent_log_handler import ConcurrentRotatingFileHandler

class Handler(ConcurrentRotatingFileHandler):
    """Keeps the numbers of the records that could not be written."""

    def __init__(self, **arguments):
        self.failed = []
        super().__init__(disk + "/app.log", encoding="ascii", **arguments)

    def handleError(self, record):
        error = sys.exc_info()[1]
        self.failed.append((record.msg.split()[1], error.errno))

    def log(self, text):
        self.handle(logging.makeLogRecord({"msg": text}))

def remount(*options):
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), os.path.dirname(disk)], check=True)

def fill(leave=0):
    """Write a file that leaves so much space."""
    ballast = os.open(disk + "/ballast", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(ballast, bytes(4096))
    except OSError:
        os.ftruncate(ballast, os.fstat(ballast).st_size - leave)
    os.close(ballast)

def writers(count, work, meanwhile):
    """Run `work(number)` in so many processes, and `meanwhile()` in this one; return what they return."""
    results = []
    for number in range(count):
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                with open(write, "w") as stream:
                    json.dump(work(number), stream)
            finally:
                os._exit(0)
        os.close(write)
        results.append(read)
    meanwhile()
    for number, read in enumerate(results):
        with open(read) as stream:
            results[number] = json.load(stream)
    for _ in results:
        os.wait()
    return results

disk, options = sys.argv[1], json.loads(sys.argv[2])
'''


class Outcome(NamedTuple):
    """What the script says, and the files of its disk."""

    said: Any
    files: Dict[str, bytes]
    stderr: List[str]


def run(tmp_path: Path, mounted: Sequence[str], script: str, **options: Any) -> Outcome:
    """Run a script with a small file system of its own."""
    copy = tmp_path / "copy"
    ending = f"import shutil; shutil.copytree(disk, {str(copy)!r}); print(json.dumps(said))"
    with small_disk(tmp_path / "disk", *mounted) as disk:
        ended = run_program(
            [sys.executable, "-c", SCRIPT + script + ending, str(disk.folder), json.dumps(options)]
        )
    assert ended.returncode == 0, ended.stderr
    files = {each.name: each.read_bytes() for each in copy.iterdir()}
    assert files.pop(".__app.lock") == b""
    page = files.pop(".__app.state")
    assert (len(page) >= 4096, len(page) % 2) == (True, 0)  # the epoch is stable
    return Outcome(json.loads(ended.stdout), files, ended.stderr.splitlines())


def text_of(files: Dict[str, bytes]) -> bytes:
    """Return the log from its oldest file to the live one."""

    def age(name: str) -> int:
        return int(name.rpartition(".")[2]) if name != "app.log" else 0

    return b"".join(files[name] for name in sorted(files, key=age, reverse=True))


def assert_written(text: bytes, writers: int, records: int, failed: List[Set[int]]) -> int:
    """Assert that the log holds what has not failed: once, whole, in order; return the number of blank lines."""
    assert text.endswith(b"\n")
    lines = text.decode("ascii").split("\n")[:-1]
    for writer in range(writers):
        expected = [
            f"{writer} {number} " + "x" * (number * 37 % 900)
            for number in range(records)
            if number not in failed[writer]
        ]
        assert [line for line in lines if line.startswith(f"{writer} ")] == expected
    others = [line for line in lines if not line[:1].isdigit()]
    assert [line for line in others if line.strip()] == []
    return len(others)


SEVERAL = """
full, goes_on = os.pipe(), os.pipe()

def work(writer):
    handler = Handler(**options["arguments"])
    os.close(goes_on[1])
    for number in range(options["records"]):
        if number == options["records"] - 20:
            os.write(full[1], b".")
            os.read(goes_on[0], 1)  # until all ends are closed
        handler.log("%d %d " % (writer, number) + "x" * (number * 37 % 900))
    handler.close()
    return handler.failed

def make_space():
    for _ in range(options["writers"]):
        os.read(full[0], 1)
    remount("size=8m")
    os.close(goes_on[1])

said = writers(options["writers"], work, make_space)
"""


@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
@pytest.mark.parametrize("rotation", [{}, {"maxBytes": 50_000, "backupCount": 99}])
def test_several_processes_fill_a_disk_and_go_on_when_there_is_space(
    tmp_path: Path, locking: str, rotation: Dict[str, int]
) -> None:
    writers, records = 3, 600  # 800 kB
    outcome = run(
        tmp_path,
        ["size=512k"],
        SEVERAL,
        writers=writers,
        records=records,
        arguments={"locking": locking, **rotation},
    )
    failed = [{int(number) for number, _ in each} for each in outcome.said]
    assert {reason for each in outcome.said for _, reason in each} == {28}
    assert_written(text_of(outcome.files), writers, records, failed)
    names = {"app.log", *(f"app.log.{number}" for number in range(1, len(outcome.files)))}
    assert set(outcome.files) == names
    assert bool(rotation) == (len(names) > 1)
    last = set(range(records - 20, records))  # when there was space again
    assert [each & last for each in failed] == [set()] * writers
    assert sum(map(len, failed)) > 100


ALONE = """
handler = Handler(**options["arguments"])
handler.log("0 0 ")
fill(leave=options["leave"])
for number in range(1, 60):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
os.unlink(disk + "/ballast")
for number in range(60, 70):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
handler.close()
said = handler.failed
"""


@pytest.mark.parametrize("arguments", [{}, {"locking": "exclusive"}, {"keep_file_open": False}])
@pytest.mark.parametrize("leave", [0, 8192])
def test_a_process_alone_on_a_full_disk_leaves_at_most_one_blank_line(
    tmp_path: Path, arguments: Dict[str, Any], leave: int
) -> None:
    outcome = run(tmp_path, ["size=1m"], ALONE, arguments=arguments, leave=leave)
    failed = {int(number) for number, _ in outcome.said}
    # Without a lock nothing can be cut off; under it, it is.
    assert assert_written(text_of(outcome.files), 1, 70, [failed]) <= (0 if arguments else 1)
    assert set(outcome.files) == {"app.log"}
    assert {reason for _, reason in outcome.said} == {28}
    assert len(failed) > 10
    assert max(failed) < 60
    assert outcome.stderr == []


FROM_THE_BEGINNING = """
fill()
handler = Handler(**options["arguments"])
for number in range(5):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
os.unlink(disk + "/ballast")
handler._log._survey_at = float("-inf")  # as half a second later
for number in range(5, 10):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
handler.close()
said = handler.failed
"""


@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig"])
def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path, locking: str, encoding: str) -> None:
    outcome = run(
        tmp_path,
        ["size=64k"],
        FROM_THE_BEGINNING.replace(
            "Handler(", f"Handler(header='# head' if {encoding!r} != 'ascii' else None, "
        ),
        arguments={"locking": locking},
    )
    failed = {int(number) for number, _ in outcome.said}
    text = text_of(outcome.files)
    if encoding != "ascii":
        assert text.startswith(b"# head\n")
        text = text[len(b"# head\n") :]
    assert assert_written(text, 1, 10, [failed]) == 0
    assert set(outcome.files) == {"app.log"}
    assert failed == {0, 1, 2, 3, 4}


# The root, the folder, the log, its lock, its page, a backup, and a draft with two names.
NINE_INODES = ["size=1m", "nr_inodes=9"]
NO_INODES = """
handler = Handler(maxBytes=10, backupCount=9, **options["arguments"])
handler.log("0 0 ")
for number in range(4):
    os.mkdir(disk + "/%d" % number)
for number in range(1, 10):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
    handler._log.files._blocked_until = float("-inf")  # as a second later
for number in range(4):
    os.rmdir(disk + "/%d" % number)
for number in range(10, 12):
    handler.log("0 %d " % number + "x" * (number * 37 % 900))
handler.close()
said = handler.failed
"""


@pytest.mark.parametrize("locking", ["atomic", "exclusive"])
def test_without_a_file_to_be_had_the_log_grows_and_rotates_later(tmp_path: Path, locking: str) -> None:
    outcome = run(tmp_path, NINE_INODES, NO_INODES, arguments={"locking": locking})
    assert outcome.said == []
    assert assert_written(text_of(outcome.files), 1, 12, [set()]) == 0
    assert {name: content.count(b"\n") for name, content in outcome.files.items()} == {
        "app.log": 1,
        "app.log.1": 1,
        "app.log.2": 10,
    }
    (line,) = outcome.stderr
    assert "app.log: cannot rotate: [Errno 28]" in line
