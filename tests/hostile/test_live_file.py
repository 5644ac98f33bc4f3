"""Something else comes in the place of the log, or of its folder, while several processes write.

What one process does then stands in `inprocess/test_devices.py` and in `errors`.
"""

import functools
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import pytest

from concurrent_log_handler import exclusive, files, logfile, reopening, state
from support.children import Children, Writer, until
from support.folder import HELPERS, LIVE, assert_every_record_once, contents
from support.records import EVEN, even, lines
from support.writers import Said, WatchedHandler

OTHER = 65533
WRITERS = (1, 2, 3)
FULL = 4

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])

if not hasattr(os, "mkfifo"):
    pytest.skip("there are no such things", allow_module_level=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at twice a second is looked at all the time, in forked processes, too."""
    for module in (state, logfile, exclusive):
        monkeypatch.setattr(module, "SURVEY", 0.001)
    for module in (files, reopening):
        monkeypatch.setattr(module, "BACK_OFF", 0.001)


def start(children: Children, live: Path, locking: str, **options: Any) -> List[Writer]:
    make = functools.partial(WatchedHandler, str(live), locking=locking, **options)
    return [children.writer(make, number) for number in WRITERS]


def log(writers: List[Writer], count: int) -> List[Said]:
    """Have each log some records, one after the other, after all has been forgotten that was seen before."""
    then = time.monotonic() + 0.01
    until(lambda: time.monotonic() > then, "a look around")
    return [writer.log(count) for writer in writers]


def of_all(first: int, last: int) -> bytes:
    return b"".join(lines(even, writer, range(first, last + 1)) for writer in WRITERS)


class Obstacle(NamedTuple):
    """What comes in the place of the log, and what becomes of the records."""

    plant: Callable[[Path], None]
    remove: Callable[[Path], None]
    refused: int


def plant_device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        with path.open("wb"):
            pass
    except PermissionError:
        pytest.skip("may not make devices")


OBSTACLES: Dict[str, Obstacle] = {
    "directory": Obstacle(Path.mkdir, Path.rmdir, refused=2),
    "link to itself": Obstacle(lambda path: path.symlink_to(path.name), Path.unlink, refused=2),
    "link to a directory": Obstacle(lambda path: path.symlink_to("."), Path.unlink, refused=2),
    "pipe without a reader": Obstacle(os.mkfifo, Path.unlink, refused=2),
    "device": Obstacle(plant_device, Path.unlink, refused=0),
}


@both_modes
@pytest.mark.parametrize("name", list(OBSTACLES))
def test_what_comes_in_the_place_of_the_log_costs_the_records_of_its_time_and_is_never_rotated(
    live: Path, children: Children, locking: str, name: str
) -> None:
    obstacle = OBSTACLES[name]
    writers = start(children, live, locking, maxBytes=100_000, backupCount=9)
    log(writers, 2)
    live.rename(live.with_name("aside"))
    obstacle.plant(live)
    planted = live.lstat()
    said = log(writers, 2)
    refused = {text.partition(": ")[0] + "\n" for each in said for text in each.failures}
    most = obstacle.refused * len(writers)
    # Of a path that cannot even be looked at, some may still go to the file that was moved away.
    assert (len(writers) if name == "link to itself" else most) <= len(refused) <= most
    assert os.path.samestat(live.lstat(), planted)
    obstacle.remove(live)
    log(writers, 2)
    assert [writer.end().reports for writer in writers] == [()] * len(writers)
    late = [each for each in of_all(3, 4).splitlines(keepends=True) if each.decode() not in refused]
    aside = of_all(1, 2) + (b"" if name == "device" else b"".join(late))
    assert contents(live.parent) == {"aside": aside, LIVE: of_all(5, 6)}


@both_modes
def test_a_device_that_several_processes_log_to_stays_one(
    live: Path, children: Children, locking: str
) -> None:
    plant_device(live)
    planted = live.lstat()
    writers = start(children, live, locking, maxBytes=1, backupCount=9, chmod=0o600)
    for _ in range(2):
        log(writers, 5)
    assert [writer.end().faults for writer in writers] == [((), ())] * len(writers)
    assert os.path.samestat(live.lstat(), planted)
    assert (live.lstat().st_rdev, live.lstat().st_mode) == (planted.st_rdev, planted.st_mode)
    assert [each.name for each in live.parent.iterdir()] == [LIVE]


@both_modes
@pytest.mark.parametrize("before_the_next_record", [True, False])
def test_a_folder_that_is_removed_and_made_anew_is_used_again(
    live: Path, children: Children, locking: str, before_the_next_record: bool
) -> None:
    writers = start(children, live, locking, maxBytes=FULL * EVEN, backupCount=100)
    log(writers, FULL)
    shutil.rmtree(live.parent)
    missed = 0
    if not before_the_next_record:
        said = log(writers, 2)
        missed = 2
        assert [len(each.failures) for each in said] == [2] * len(writers)
    live.parent.mkdir()
    log(writers, FULL)
    for each in writers:
        each.log(FULL)
    ended = [writer.end() for writer in writers]
    assert [len(each.failures) for each in ended] == [missed] * len(writers)
    found = contents(live.parent)
    assert set(found) == {LIVE, *(f"{LIVE}.{number}" for number in range(1, len(found)))}
    assert len(found) > 2
    written = b"".join(found.values()).splitlines(keepends=True)
    late = of_all(FULL + missed + 1, 3 * FULL + missed).splitlines(keepends=True)
    assert sorted(written) == sorted(late)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that belongs to somebody who is not root, where there is such a difference."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        folder = Path(directory) / "logs"
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, OTHER, OTHER)
        yield folder
        folder.chmod(0o755)


def without_privileges(path: Path, **options: Any) -> WatchedHandler:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(OTHER, OTHER, OTHER)
        os.setresuid(OTHER, OTHER, OTHER)
    return WatchedHandler(str(path), **options)


@both_modes
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "only the log is there"])
def test_a_folder_that_is_closed_and_opened_again_costs_no_record(
    open_folder: Path, children: Children, locking: str, begun: bool
) -> None:
    live = open_folder / LIVE
    make = functools.partial(without_privileges, live, maxBytes=FULL * EVEN, backupCount=100, locking=locking)
    writers = [children.writer(make, number) for number in WRITERS]
    if begun:
        log(writers, FULL)
    else:
        live.touch()
        live.chmod(0o666)
    open_folder.chmod(0o555)
    before = {each.name for each in open_folder.iterdir()}
    said = log(writers, 3 * FULL)
    assert {each.name for each in open_folder.iterdir()} == before
    assert [each.failures for each in said] == [()] * len(writers)
    told = [{report.partition(": '")[0] for report in each.reports} for each in said]
    assert {len(each) for each in told} <= {0, 1}
    assert any(told)
    open_folder.chmod(0o755)
    log(writers, FULL)
    log(writers, FULL)
    ended = [writer.end() for writer in writers]
    assert sum(each.rotations for each in ended) > sum(each.rotations for each in said)
    assert [each.reports for each in ended] == [each.reports for each in said]
    assert before | HELPERS <= {each.name for each in open_folder.iterdir()}
    assert_every_record_once(live, [each.account for each in ended], even, FULL * EVEN)
