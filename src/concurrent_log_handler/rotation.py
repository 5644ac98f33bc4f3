"""Rotation: the steps that change the names of a log's files, and their recovery.

    before   app.log        app.log.1      app.log.2      (backupCount=3)
    expire   nothing to do here; with .3 there, it would go
    shift    app.log        .              app.log.2      app.log.3
    prepare  app.log        .              …              …          .__app.0f….tmp
    open_epoch                                            writers see it from here on
    set_aside .             app.log.1      …              …          .__app.0f….tmp
    publish  app.log        app.log.1      app.log.2      app.log.3
    close_epoch                                           writers go on with the new file
    sweep    drafts that dead processes left

The steps run under the lock. Each one does nothing where its work has been done, so a rotation
whose process died is finished by running the table again from `publish` on, when the epoch tells
that it got that far, and by the next rotation otherwise:

| killed right after | what is there           | who mends it                                        |
|--------------------|-------------------------|-----------------------------------------------------|
| expire, shift      | a gap in the numbers    | the next rotation fills it                          |
| prepare            | a draft                 | the next `prepare`, or whoever opens the log next   |
| open_epoch         | an odd epoch            | whoever looks next: publishes (nothing to do), ends |
| set_aside          | no live file, odd epoch | the same; a new process publishes without the lock  |
| publish            | an odd epoch, a draft   | the same                                            |

Only the time between `open_epoch` and `close_epoch` can be noticed by a writer: a rename and a
link. The shift happens before it, while the peers write into the full file. It stops at the first
gap, so its cost depends on the backups that exist, never on `backupCount`. Nor does the writer
that rotates wait for a thousand renames: after `SHIFTS_AT_ONCE` the rotation is left with a gap in
the numbers, appends its record, and goes on with the next one, or a peer does.

What is deleted is sealed first, with length 0, so that a writer which still has it open, and wrote
too late, writes again. The order matters: see `kept.py`.
"""

import contextlib
import os
from typing import Callable, List, NamedTuple, Optional, Sequence, Set

from concurrent_log_handler.drafts import Draft, DraftRoom, existing
from concurrent_log_handler.naming import Names
from concurrent_log_handler.state import Page
from concurrent_log_handler.system import System

SHIFTS_AT_ONCE = 32
PROBES = 32  # so many single looks cost less than one at a large directory

Mover = Callable[[str, str], None]


class UnfinishedShiftError(Exception):
    """The rotation goes on another time."""


class Hooks(NamedTuple):
    """What the rooms below ask of the handler.

    Args:
        backup_name: the path of the backup with a number.
        mover: what renames the live file in the place of the system's rename, None as a rule.
        must_lock: whether code of the user takes part in rotations, and so needs the lock.
        is_due: whether to rotate before the record at hand, given it and the length of the file.
        rotate: rotate now; the lock is held.
        head: what a new file begins with (byte-order mark, header).
        filler: a number of bytes that read as an empty line.
        report: tell of a failure, once per cause, until it is settled.
        settled: a cause has gone.
        trace: tell what is being done, None unless asked for.
        after_step: called with the name of each step of a rotation.

    """

    backup_name: Callable[[int], str]
    mover: Callable[[], Optional[Mover]]
    must_lock: Callable[[], bool]
    is_due: Callable[[object, int], bool]
    rotate: Callable[[], None]
    head: Callable[[], bytes]
    filler: Callable[[int], bytes]
    report: Callable[[str, BaseException], None]
    settled: Callable[[str], None]
    trace: Optional[Callable[[str], None]]
    after_step: Callable[[str], None]


class Rotation:
    """One run through the table, or the rest of one that another process began."""

    def __init__(
        self,
        system: System,
        names: Names,
        drafts: DraftRoom,
        hooks: Hooks,
        page: Optional[Page],
        keep: int,
        most_shifts: float = float("inf"),
    ) -> None:
        """Prepare a run.

        Args:
            system: the system calls.
            names: the paths of the log.
            drafts: where the next live file is made.
            hooks: the names of backups, the mover, the head of a new file.
            page: the page, None where there is none that may be written.
            keep: how many backups there may be afterwards; 0 discards the live file.
            most_shifts: how many backups may be renamed in this run.

        """
        self._system = system
        self._names = names
        self._drafts = drafts
        self._hooks = hooks
        self._page = page
        self._keep = keep
        self._draft: Optional[Draft] = None
        self._content = b""
        self._aside: Optional[str] = None
        self._most_shifts = most_shifts
        self._recovers = False
        self.unshifted = 0

    def run(self, unshifted: int = 0) -> bool:
        """Rotate; return False if the shift was only begun.

        Args:
            unshifted: what `unshifted` said at the end of the run before, if that only began.

        Raises `OSError` when it cannot be done, with everything as before.

        """
        self.unshifted = unshifted
        try:
            self._walk(STEPS)
        except UnfinishedShiftError:
            return False
        except BaseException:
            self._undo()
            raise
        finally:
            self.discard_draft()
        return True

    def recover(self) -> None:
        """Finish what a process that died has begun; do nothing else."""
        self._recovers = True
        try:
            self._walk(RECOVERY)
        finally:
            self.discard_draft()

    def abandon(self) -> None:
        """Let go of the descriptors only: after a fork, the run goes on in the parent."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.close()

    def discard_draft(self) -> None:
        """Let go of the next live file, published or not."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()

    def _walk(self, steps: "Sequence[Callable[[Rotation], None]]") -> None:
        for step in steps:
            step(self)
            self._hooks.after_step(step.__name__)

    def expire(self) -> None:
        """Delete the backup that the shift would push over the end."""
        if self.unshifted and self._has_gap_above(self.unshifted):
            return
        backups = self._backups()
        self.unshifted = len(backups)
        if self._keep and self.unshifted >= self._keep:
            if self._page is not None:
                self._page.wait_for_leases()
            self._delete(backups[-1])
            self.unshifted -= 1

    def shift(self) -> None:
        """Make place for the next backup: the oldest first, so that nothing is replaced."""
        shifts = 0
        while self.unshifted:
            if shifts >= self._most_shifts:
                raise UnfinishedShiftError
            source = self._hooks.backup_name(self.unshifted)
            target = self._hooks.backup_name(self.unshifted + 1)
            if source != target:
                with contextlib.suppress(FileNotFoundError):  # removed by somebody else by now
                    self._system.rename(source, target)
            self.unshifted -= 1
            shifts += 1

    def _has_gap_above(self, number: int) -> bool:
        """Tell whether nobody else has gone on with a shift that was left at this backup."""
        here, above = self._hooks.backup_name(number), self._hooks.backup_name(number + 1)
        return os.path.lexists(here) and not os.path.lexists(above)

    def prepare(self) -> None:
        """Make the next live file ready under the name of a draft."""
        self._content = self._hooks.head()
        self._draft = self._drafts.make_locked(self._names.directory, self._content)

    def open_epoch(self) -> None:
        """Tell the writers that names are being changed; from here on they look twice."""
        if self._page is not None:
            self._page.open_epoch()

    def set_aside(self) -> None:
        """Take the live file away from its name."""
        log = self._names.log
        status = existing(self._system, log)
        if status is None:
            return
        if not self._keep:
            self._delete(log)
            return
        target = self._hooks.backup_name(1)
        self._seal(existing(self._system, target), 0)  # only a namer that knows no numbers has one
        mover = self._hooks.mover()
        if mover is None:
            self._system.rename(log, target)
            self._aside = target
            if self._page is not None:
                self._page.count_rotation()
        else:
            # It may copy and delete. Who still has the file open, and writes after this look at
            # its length, must not believe that the record has been moved along.
            self._seal(status, self._system.status(log).st_size, until_epoch_closes=True)
            mover(log, target)

    def publish(self) -> None:
        """Give the next live file its name, unless one stands there already."""
        if existing(self._system, self._names.log) is not None:
            return
        if self._draft is None:
            self.prepare()
        if self._draft is not None:
            if self._page is not None:
                self._page.clear(self._draft.status)
            try:
                self._drafts.publish(self._draft, self._names.log, self._content)
            except FileNotFoundError:  # the draft was swept while this process was frozen
                self._drafts.bring_about(self._names.log, self._content, self._is_in_ring)

    def close_epoch(self) -> None:
        """Tell the writers that the names are stable again."""
        if self._page is not None:
            self._page.close_epoch()

    def sweep(self) -> None:
        """Remove the draft, and after the death of a process all that it may have left."""
        self.discard_draft()
        if self._recovers:
            self._drafts.sweep(self._names.directory)

    def _undo(self) -> None:
        """After a failure: give the live file its name back, and the writers a stable epoch.

        Publishing can fail for want of a directory entry or a right, and then nobody else could
        publish either: the file that was full is better than none.
        """
        try:
            if self._aside is not None and existing(self._system, self._names.log) is None:
                self._system.rename(self._aside, self._names.log)
        except OSError as error:
            self._hooks.report("cannot undo a rotation", error)
        self.close_epoch()

    def _backups(self) -> List[str]:
        """Return the backups that stand in an unbroken row, at most `keep`, the youngest first."""
        paths: List[str] = []
        seen: Set[str] = set()
        stands: Callable[[str], bool] = os.path.lexists
        while len(paths) < self._keep:
            path = self._hooks.backup_name(len(paths) + 1)
            if len(paths) == PROBES:
                stands = self._listed()
            if path in seen or not stands(path):
                break
            paths.append(path)
            seen.add(path)
        return paths

    def _listed(self) -> Callable[[str], bool]:
        """Return what tells whether a path stands, from one look at the directory."""
        directory = self._names.directory
        names = set(self._system.list_names(directory))

        def stands(path: str) -> bool:
            parent, name = os.path.split(path)
            return name in names if parent == directory else os.path.lexists(path)

        return stands

    def _delete(self, path: str) -> None:
        self._seal(existing(self._system, path), 0)
        self._system.unlink(path)

    def _seal(self, status: Optional[os.stat_result], length: int, until_epoch_closes: bool = False) -> None:
        if self._page is None or status is None:
            return
        if until_epoch_closes:
            self._page.seal(status, length, until=(self._page.look() | 1) + 1)
        else:
            self._page.seal(status, length)

    def _is_in_ring(self, status: os.stat_result) -> bool:
        return self._page is not None and self._page.entry(status) is not None


STEPS = [
    Rotation.expire,
    Rotation.shift,
    Rotation.prepare,
    Rotation.open_epoch,
    Rotation.set_aside,
    Rotation.publish,
    Rotation.close_epoch,
    Rotation.sweep,
]
RECOVERY = STEPS[STEPS.index(Rotation.publish) :]
