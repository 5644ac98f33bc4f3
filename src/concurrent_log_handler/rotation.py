"""Rotation: the steps that change the names of a log's files, and their recovery.

    before   app.log        app.log.1      app.log.2      (backupCount=3)
    expire   nothing to do here; with .3 there, it would go
    shift    app.log        .              app.log.2      app.log.3
    prepare  app.log        .              …              …          .__app.00….tmp
    open_epoch                                            writers see it from here on
    set_aside .             app.log.1      …              …          .__app.00….tmp
    publish  app.log        app.log.1      app.log.2      app.log.3
    close_epoch                                           writers go on with the new file
    discard  what was set aside to be deleted, where no backups are kept

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
| close_epoch        | what is to be discarded | the next `discard`, or whoever opens the log next   |

Only the time between `open_epoch` and `close_epoch` can be noticed by a writer: a rename and a
link. The shift happens before it, while the peers write into the full file. It stops at the first
gap, so its cost depends on the backups that exist, never on `backupCount`. Nor does the writer
that rotates wait for a thousand renames: after `SHIFTS_AT_ONCE` the run ends with a gap in the
numbers, and another one goes on (`background.py`).

What is deleted has lost the name of the log first, then its leases, and then it is sealed with
length 0, so that a writer which still has it open, and wrote too late, writes again, into another
file. The order matters: see `kept.py`.
"""

import contextlib
import errno
import os
import time
from typing import Callable, List, NamedTuple, Optional, Sequence, Set, Tuple

from concurrent_log_handler.drafts import Draft, DraftRoom, existing
from concurrent_log_handler.lock import FileLock
from concurrent_log_handler.naming import Names
from concurrent_log_handler.state import ATOMIC, GRACE, Page
from concurrent_log_handler.system import System

SHIFTS_AT_ONCE = 32
PROBES = 32  # so many single looks cost less than one at a large directory

Mover = Callable[[str, str], None]
Moves = List[Tuple[str, str]]


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


class Site(NamedTuple):
    """What a rotation works on."""

    system: System
    names: Names
    drafts: DraftRoom
    lock: FileLock
    hooks: Hooks


class Rotation:
    """One run through the table, or the rest of one that another process began."""

    def __init__(self, site: Site, page: Optional[Page], keep: int, most_shifts: float) -> None:
        """Prepare a run.

        Args:
            site: what the log consists of.
            page: the page, None where there is none that may be written.
            keep: how many backups there may be afterwards; 0 discards the live file.
            most_shifts: how many backups may be renamed in this run.

        """
        self._system = site.system
        self._names = names = site.names
        self._drafts = site.drafts
        self._lock = site.lock
        self._hooks = site.hooks
        self._page = page
        self._keep = keep
        self._draft: Optional[Draft] = None
        self._content = b""
        self._aside: Optional[str] = None
        # A log that is a symbolic link is renamed with its backups, but emptied behind the link.
        self._live = names.log if keep else os.path.realpath(names.log)
        self._most_shifts = most_shifts
        self.moves: Moves = []

    def run(self, moves: Optional[Moves] = None) -> bool:
        """Rotate; return False if the shift was only begun.

        Args:
            moves: what `moves` said at the end of the run before, if that only began.

        Raises `OSError` when it cannot be done, with everything as before.

        """
        self.moves = moves or []
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
        try:
            self._walk(RECOVERY)
        finally:
            self.discard_draft()
        for directory in {os.path.dirname(self._live), self._names.directory}:
            self._drafts.sweep(directory)

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
            if step in CHANGE_NAMES and not self._lock.is_at_its_path():
                raise OSError(errno.ENOLCK, "the lock file has been replaced meanwhile", self._names.lock)
            step(self)
            self._hooks.after_step(step.__name__)

    def expire(self) -> None:
        """Delete the backup that the shift would push over the end."""
        if not self._keep:
            self.discard()  # what a process that died has left there
        if not self._keep or self._can_go_on():
            return
        slots = self._slots()
        if len(slots) > self._keep:
            self._delete(slots[-2])
            slots.pop()
        self.moves = list(zip(slots, slots[1:]))

    def shift(self) -> None:
        """Make place for the next backup: the oldest first, so that nothing is replaced."""
        shifts = 0
        while self.moves:
            if shifts >= self._most_shifts:
                raise UnfinishedShiftError
            source, target = self.moves[-1]
            with contextlib.suppress(FileNotFoundError):  # removed by somebody else by now
                self._system.rename(source, target)
            self.moves.pop()
            shifts += 1

    def prepare(self) -> None:
        """Make the next live file ready under the name of a draft."""
        self._content = self._hooks.head()
        self._draft = self._drafts.make_locked(os.path.dirname(self._live), self._content)

    def open_epoch(self) -> None:
        """Tell the writers that names are being changed; from here on they look twice."""
        if self._page is not None:
            status = existing(self._system, self._live)
            if status is not None:  # made by somebody else, with the number of a file that was sealed
                self._page.clear(status)
            self._page.open_epoch()

    def set_aside(self) -> None:
        """Take the live file away from its name."""
        status = existing(self._system, self._live)
        if status is None:
            return
        if not self._keep and self._page is not None and self._page.head().mode == ATOMIC:
            time.sleep(GRACE)  # leases run out: what is logged after this rotation goes to the new file
        mover = self._hooks.mover() if self._keep else None
        target = self._first_backup() if self._keep else self._discarded()
        if mover is None:
            self._system.rename(self._live, target)
            self._aside = target
            if self._page is not None:
                self._page.count_rotation()
        else:
            # It may copy and delete. Who still has the file open, and writes after this look at
            # its length, must not believe that the record has been moved along.
            self._seal(status, self._system.status(self._live).st_size, until_epoch_closes=True)
            mover(self._live, target)

    def publish(self) -> None:
        """Give the next live file its name, unless one stands there already."""
        if existing(self._system, self._live) is not None:
            return
        if self._draft is None:
            self.prepare()
        if self._draft is not None:
            if self._page is not None:
                self._page.clear(self._draft.status)
            try:
                self._drafts.publish(self._draft, self._live, self._content)
            except FileNotFoundError:  # the draft was swept while this process was frozen
                self._drafts.bring_about(self._live, self._content, self._is_in_ring)

    def close_epoch(self) -> None:
        """Tell the writers that the names are stable again."""
        if self._page is not None:
            self._page.close_epoch()

    def discard(self) -> None:
        """Delete what was set aside for that, now or by a process that died."""
        self.discard_draft()
        with contextlib.suppress(FileNotFoundError):
            self._delete(self._discarded())

    def _undo(self) -> None:
        """After a failure: give the live file its name back, and the writers a stable epoch.

        Publishing can fail for want of a directory entry or a right, and then nobody else could
        publish either: the file that was full is better than none.
        """
        try:
            if self._aside is not None and existing(self._system, self._live) is None:
                if self._system.link(self._aside, self._live):  # never over what a peer has published
                    self._system.unlink(self._aside)
                else:
                    self._system.rename(self._aside, self._live)
        except OSError as error:
            self._hooks.report("cannot undo a rotation", error)
        self.close_epoch()

    def _slots(self) -> List[str]:
        """Return the backups that stand in an unbroken row, and last the name that is free.

        What stands at the name of a backup, and is no file, is somebody else's: it keeps its name,
        and the row goes on behind it. A namer that knows no numbers has no row.
        """
        slots: List[str] = []
        seen: Set[str] = set()
        kind_of: Callable[[str], Optional[bool]] = _kind_of
        while len(slots) <= self._keep:
            path = self._hooks.backup_name(len(seen) + 1)
            if path in seen:
                return []
            if len(seen) == PROBES:
                kind_of = self._kinds()
            seen.add(path)
            is_file = kind_of(path)
            if is_file is not False:
                slots.append(path)
            if is_file is None:
                break
        return slots

    def _kinds(self) -> Callable[[str], Optional[bool]]:
        """Return what tells whether a path is a file, from one look at the directory."""
        directory = self._names.directory
        entries = self._system.list_files(directory)

        def kind_of(path: str) -> Optional[bool]:
            parent, name = os.path.split(path)
            return entries.get(name) if parent == directory else _kind_of(path)

        return kind_of

    def _can_go_on(self) -> bool:
        """Tell whether nobody else has gone on with the shift that an earlier run began."""
        if not self.moves:
            return False
        source, target = self.moves[-1]
        return os.path.lexists(source) and not os.path.lexists(target)

    def _first_backup(self) -> str:
        """Return the name for the live file; free, unless the namer knows no numbers."""
        number = 1
        path = self._hooks.backup_name(number)
        while _kind_of(path) is False and path != self._hooks.backup_name(number + 1):
            number += 1
            path = self._hooks.backup_name(number)
        if os.path.realpath(path) == os.path.realpath(self._live):
            raise OSError(errno.EINVAL, "namer gives a backup the name of the log itself", path)
        with contextlib.suppress(FileNotFoundError):
            self._delete(path)
        return path

    def _discarded(self) -> str:
        return self._names.discarded(os.path.dirname(self._live))

    def _delete(self, path: str) -> None:
        """Delete a file that is not live; raise `FileNotFoundError` if there is none."""
        status = self._system.status(path)
        if self._page is not None and path != self._aside:  # for that, `set_aside` has waited
            self._page.wait_for_leases()
        self._seal(status, 0)
        try:
            self._system.unlink(path)
        except OSError:
            if self._page is not None:
                self._page.clear(status)
            raise

    def _seal(self, status: Optional[os.stat_result], length: int, until_epoch_closes: bool = False) -> None:
        if self._page is None or status is None:
            return
        if until_epoch_closes:
            self._page.seal(status, length, until=(self._page.look() | 1) + 1)
        else:
            self._page.seal(status, length)

    def _is_in_ring(self, status: os.stat_result) -> bool:
        return self._page is not None and self._page.entry(status) is not None


def _kind_of(path: str) -> Optional[bool]:
    """Tell whether a path is that of a file, None if nothing stands there."""
    return os.path.isfile(path) if os.path.lexists(path) else None


STEPS = [
    Rotation.expire,
    Rotation.shift,
    Rotation.prepare,
    Rotation.open_epoch,
    Rotation.set_aside,
    Rotation.publish,
    Rotation.close_epoch,
    Rotation.discard,
]
# These would do harm if somebody had deleted the lock file, and a peer rotated under a new one.
CHANGE_NAMES = {Rotation.expire, Rotation.shift, Rotation.set_aside}
RECOVERY = STEPS[STEPS.index(Rotation.publish) :]
