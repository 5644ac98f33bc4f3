"""A process is stopped while it compresses; nobody waits for it, and it hurts nobody when it goes on, or is killed."""

import contextlib
import functools
import gzip
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from concurrent_log_handler import base
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.cli.reckoning import read_records
from support.children import Children, Writer
from support.clock import Clock
from support.folder import HELPERS, LIVE, dated
from support.records import EVEN
from support.writers import Said, Scribe, Watched, WatchedHandler, WatchedTimedHandler, stop_myself

PATIENCE = 0.25
FULL = 16
"""Records in a full file."""
DURING = 100
"""Records that each of the others logs meanwhile."""
FROZEN, FRESH, OTHERS = 4, 5, (1, 2)
STEPS = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
UNDER_THE_LOCK = {"publish", "drop"}
MANY = 100_000

at_each_step = pytest.mark.parametrize("step", STEPS)
with_both_kinds_of_names = pytest.mark.parametrize("naming", ["numbered", "dated"])


def stopped_while_compressing(make: Callable[..., Watched], step: str) -> Watched:
    """Make a handler that is stopped after a step; one of a rotation, too, is called `publish`."""
    handler = make(upkeep="inline")

    def stop_later() -> None:
        handler.interrupts[step] = stop_myself

    handler.interrupts["choose"] = stop_myself if step == "choose" else stop_later
    return handler


class SweptByAFrozenPeer(Posix):
    """Has somebody who sweeps come right after a private draft was made, and stop after having locked it."""

    def __init__(self) -> None:
        self.swept: Dict[str, int] = {}

    def create(self, path: str, mode: int) -> int:
        fd = super().create(path, mode)
        if mode == 0o600 and not self.swept:
            self.swept[path] = os.open(path, os.O_RDWR)
            assert self.try_lock(self.swept[path])
        return fd

    def resume_peer(self) -> None:
        for path, fd in self.swept.items():
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            os.close(fd)


class Scene:
    """Some writers of a log, and one who is frozen while it compresses a backup of that."""

    def __init__(self, live: Path, children: Children, locking: str, naming: str, keep: int = MANY) -> None:
        self.folder = live.parent
        self._children = children
        self._keep = keep
        self._naming = naming
        clock = Clock()
        self._begin = clock()
        options: Dict[str, Any] = {"maxBytes": FULL * EVEN, "backupCount": keep, "locking": locking}
        options.update(patience=PATIENCE, clock=clock, use_gzip=True)
        kind: Callable[..., Watched] = WatchedHandler
        if naming == "dated":
            kind, options = WatchedTimedHandler, {**options, "when": "H", "utc": True}
        self._make = functools.partial(kind, str(live), **options)
        self.others = [self._writer(number) for number in OTHERS]

    def _writer(self, number: int) -> Writer:
        return self._children.writer(self._make, number)

    def freeze(self, step: str) -> Writer:
        """Fill a file, and have somebody stop while it compresses that."""
        make = functools.partial(stopped_while_compressing, self._make, step)
        frozen = self._children.writer(make, FROZEN)
        for writer in self.others:
            writer.log()
        frozen.log(FULL - len(self.others))
        frozen.tell(1)
        frozen.stopped()
        return frozen

    def log_meanwhile(self) -> List[Said]:
        """Have the others log, and one more that knows nothing of what was before; none may wait for long."""
        self.others.append(self._writer(FRESH))
        for writer in self.others:
            writer.tell(DURING)
        said = [writer.said() for writer in self.others]
        assert [(each.failures, each.reports) for each in said] == [((), ())] * len(said)
        assert max(each.slowest for each in said) < 4 * PATIENCE
        return said

    def found(self) -> Dict[str, List[bytes]]:
        """Return the records in the files, the oldest first, once those are found to have the right names."""
        names = {each.name for each in self.folder.iterdir()} - HELPERS - {LIVE}
        numbers = range(len(names))
        in_order = (
            [f"{LIVE}.{number + 1}.gz" for number in reversed(numbers)]
            if self._naming == "numbered"
            else [f"{dated(self._begin, number)}.gz" for number in numbers]
        )
        assert names == set(in_order)
        files = {name: gzip.decompress((self.folder / name).read_bytes()) for name in in_order}
        assert [name for name, content in files.items() if len(content) < FULL * EVEN] == []
        files[LIVE] = (self.folder / LIVE).read_bytes()
        return {name: content.splitlines(keepends=True) for name, content in files.items()}

    def end(self, *others: Said) -> None:
        """End all processes; assert that every record is there once, in its writer's order, and nothing else."""
        said = [*others, *(writer.end() for writer in self.others)]
        assert [(each.failures, each.reports) for each in said] == [((), ())] * len(said)
        numbers: Dict[int, List[int]] = {each.account.writer: [] for each in said}
        for lines in self.found().values():
            for _, (writer, number) in read_records(lines):
                numbers[writer].append(number)
        if self._keep == MANY:
            assert numbers == {each.account.writer: list(range(1, each.account.records + 1)) for each in said}
            return
        assert len(self.found()) == self._keep + 1
        for each in said:
            there, last = numbers[each.account.writer], each.account.records
            assert there == list(range(last + 1 - len(there), last + 1))


def has_rotated(said: List[Said]) -> bool:
    return sum(each.rotations for each in said) > 0


@with_both_kinds_of_names
@pytest.mark.parametrize(
    ("step", "locking"),
    # In the exclusive mode, who stops under the lock stops all.
    [
        (step, locking)
        for step in STEPS
        for locking in ("atomic", "exclusive")
        if locking == "atomic" or step not in UNDER_THE_LOCK
    ],
)
def test_nobody_waits_for_one_that_is_frozen_while_it_compresses(
    live: Path, children: Children, locking: str, naming: str, step: str
) -> None:
    scene = Scene(live, children, locking, naming)
    frozen = scene.freeze(step)
    said = scene.log_meanwhile()
    assert has_rotated(said) == (step not in UNDER_THE_LOCK)
    frozen.resume()
    frozen.said()
    for writer in scene.others:
        writer.log(FULL)
    scene.end(frozen.end())


@pytest.mark.parametrize("naming", ["numbered"])
@at_each_step
def test_a_backup_that_expires_while_it_is_being_compressed_stays_away(
    live: Path, children: Children, naming: str, step: str
) -> None:
    scene = Scene(live, children, "atomic", naming, keep=2)
    frozen = scene.freeze(step)
    scene.log_meanwhile()
    frozen.resume()
    frozen.said()
    for writer in scene.others:
        writer.log(FULL)
    scene.end(frozen.end())


@with_both_kinds_of_names
@at_each_step
def test_the_others_go_on_with_what_one_had_in_hand_that_is_killed_then(
    live: Path, children: Children, naming: str, step: str
) -> None:
    scene = Scene(live, children, "atomic", naming)
    frozen = scene.freeze(step)
    account = scene.log_meanwhile()[0].account._replace(writer=FROZEN, records=FULL - len(OTHERS))
    os.kill(frozen.pid, signal.SIGKILL)
    assert frozen.ended() == -9
    scene.end(Said(account, 0.0, 0))


@pytest.mark.parametrize("step", [step for step in STEPS if step not in UNDER_THE_LOCK])
def test_a_handler_that_is_closed_does_not_wait_for_one_that_is_frozen_over_a_backup(
    live: Path, children: Children, step: str
) -> None:
    scene = Scene(live, children, "atomic", "numbered")
    frozen = scene.freeze(step)
    scene.log_meanwhile()
    began = time.monotonic()
    said = [writer.end() for writer in scene.others]
    assert time.monotonic() - began < 4 * PATIENCE * len(said)
    scene.others.clear()
    frozen.resume()
    frozen.said()
    scene.end(*said, frozen.end())


def test_a_draft_that_a_frozen_peer_is_about_to_sweep_is_not_used(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SweptByAFrozenPeer()
    monkeypatch.setattr(base, "SYSTEM", system)
    interrupts = {"copy": system.resume_peer}
    handler = WatchedHandler(
        str(live), interrupts, maxBytes=EVEN, backupCount=9, use_gzip=True, upkeep="inline"
    )
    said = Scribe(handler, FROZEN).log(2)
    handler.close()
    assert (said.failures, said.reports, len(system.swept)) == ((), (), 1)
    assert {each.name for each in live.parent.iterdir()} == {LIVE, f"{LIVE}.1.gz", *HELPERS}
