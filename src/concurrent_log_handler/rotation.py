"""Rotation: the steps that change the names of a log's files, and their recovery.

    before   app.log        app.log.1      app.log.2      (backupCount=3)
    expire   nothing to do here; with .3 there, it would go
    shift    app.log        .              app.log.2      app.log.3
    prepare  app.log        .              …              …          .__app.00….tmp
    open_epoch                                            writers see it from here on
    set_aside .             app.log.1      …              …          .__app.00….tmp
    publish  app.log        app.log.1      app.log.2      app.log.3
    reschedule                                            by time: the next period begins
    close_epoch                                           writers go on with the new file
    discard  what was set aside to be deleted, where no backups are kept

By time, the backup is called `app.log.2026-11-22_10`, and nothing is shifted; what expires then, by
age, by size or by count, is for the upkeep after the rotation (`upkeep.py`).

The steps run under the lock. Each one does nothing where its work has been done, so a rotation
whose process died is finished by running the table again from `publish` on, when the epoch tells
that it got that far, and by the next rotation otherwise:

| killed right after | what is there           | who mends it                                        |
|--------------------|-------------------------|-----------------------------------------------------|
| expire, shift      | a gap in the numbers    | the next rotation fills it                          |
| prepare            | a draft                 | the next `prepare`, or whoever opens the log next   |
| open_epoch         | an odd epoch            | whoever looks next: publishes (nothing to do), ends |
| set_aside          | no live file, odd epoch | the same; a new process publishes without the lock  |
| publish, reschedule | an odd epoch, a draft  | the same                                            |
| close_epoch        | what is to be discarded | the next `discard`, or whoever opens the log next   |

Only the time between `open_epoch` and `close_epoch` can be noticed by a writer: a rename and a
link. The shift happens before it, while the peers write into the full file. It stops at the first
gap, so its cost depends on the backups that exist, never on `backupCount`. Nor does the writer
that rotates wait for a thousand renames: after `SHIFTS_AT_ONCE` the run ends with a gap in the
numbers, and another one goes on (`background.py`).

`reschedule` must happen if the live file was renamed, or the new one would be rotated again for the
same period; and must not, if it was not. So the page says which file is under way before that is
renamed, and whether its period is over: if it still stands at the path of the log, the boundary stays.
"""

import contextlib
import errno
import os
import time
from typing import Callable, ContextManager, List, NamedTuple, Optional, Sequence, Tuple

from concurrent_log_handler.agreement import Configuration
from concurrent_log_handler.backups import PLAIN, Backups, Place
from concurrent_log_handler.compression import Codec
from concurrent_log_handler.drafts import Draft, DraftRoom, existing
from concurrent_log_handler.lock import FileLock
from concurrent_log_handler.naming import Names
from concurrent_log_handler.sealing import delete, drop_if_published
from concurrent_log_handler.state import ATOMIC, GRACE, MOST_WAITING, Page, identity_of
from concurrent_log_handler.system import System
from concurrent_log_handler.timetable import Timetable, Timing

SHIFTS_AT_ONCE = 32

Mover = Callable[[str, str], None]
Moves = List[List[Tuple[str, str]]]


class UnfinishedShiftError(Exception):
    """The rotation goes on another time."""


class Hooks(NamedTuple):
    """What the rooms below ask of the handler.

    Args:
        backup_name: the path of the backup with a number.
        now: the wall clock, in seconds since 1970.
        timing: what there is to know of a log that is rotated by time, None for others.
        hand_on: called with the path of each backup that is ready, None if nobody asks for it.
        codec: what backups are compressed by, None if they are not.
        to_delete: the backups that a rule of the user's own wants to be deleted, None without one.
        mover: what renames the live file in the place of the system's rename, None as a rule.
        must_lock: whether code of the user takes part in rotations, and so needs the lock.
        is_due: whether to rotate before the record at hand, given it and the length of the file.
        rotate: rotate now; the lock is held.
        head: what a new file begins with (byte-order mark, header).
        filler: a number of bytes that read as an empty line.
        line_end: what each record ends with.
        report: tell of a failure, once per cause, until it is settled.
        settled: a cause has gone.
        trace: tell what is being done, None unless asked for.
        after_step: called with the name of each step of a rotation, and of a compression.
        exclusively: gives the lock of the handler itself, which is always taken before all others.
        configuration: what the writers of the log should agree on, by the names of the arguments.

    """

    backup_name: Callable[[int], str]
    now: Callable[[], float]
    timing: Optional[Timing]
    hand_on: Callable[[], Optional[Callable[[str], None]]]
    codec: Callable[[], Optional[Codec]]
    to_delete: Callable[[], Optional[List[str]]]
    mover: Callable[[], Optional[Mover]]
    must_lock: Callable[[], bool]
    is_due: Callable[[object, int], bool]
    rotate: Callable[[], None]
    head: Callable[[], bytes]
    filler: Callable[[int], bytes]
    line_end: Callable[[], bytes]
    report: Callable[[str, BaseException], None]
    settled: Callable[[str], None]
    trace: Optional[Callable[[str], None]]
    after_step: Callable[[str], None]
    exclusively: Callable[[], ContextManager[object]]
    configuration: Callable[[], Configuration]


class Site(NamedTuple):
    """What a rotation works on."""

    system: System
    names: Names
    drafts: DraftRoom
    lock: FileLock
    hooks: Hooks
    backups: Backups
    timetable: Optional[Timetable]


class Rotation:
    """One run through the table, or the rest of one that another process began."""

    def __init__(self, site: Site, page: Optional[Page], keep: float, most_shifts: float) -> None:
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
        self._backups = site.backups
        self._timetable = site.timetable
        self._page = page
        self._keep = keep
        self._draft: Optional[Draft] = None
        self._content = b""
        self._aside: Optional[str] = None
        self._has_set_aside = self._period_is_over = False
        # A log that is a symbolic link is renamed with its backups, but emptied behind the link.
        self._live = names.log if keep else os.path.realpath(names.log)
        self._most_shifts = most_shifts
        self.moves: Moves = []

    def run(self) -> bool:
        """Rotate; return False if the shift was only begun, and `moves` says what is left of it.

        Raises `OSError` when it cannot be done, with everything as before.

        """
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
            return
        row = [self._settled(place) for place in self._backups.row(self._keep)]
        if len(row) > self._keep:
            self._delete_all([row[-2].path + each for each in row[-2].extensions])
            row.pop()
        # Anew in each run: between two of them, peers may have gone on with the shift, or compressed a backup.
        self.moves = [
            [(place.path + extension, following.path + extension) for extension in place.extensions]
            for place, following in zip(row, row[1:])
        ]

    def shift(self) -> None:
        """Make place for the next backup: the oldest first, so that nothing is replaced."""
        shifts = 0
        while self.moves:
            if shifts >= self._most_shifts:
                raise UnfinishedShiftError
            for source, target in self.moves[-1]:
                self._rename_if_there(source, target)
            self.moves.pop()
            shifts += 1

    def _rename_if_there(self, source: str, target: str) -> None:
        """Rename a backup, unless somebody has removed it by now."""
        try:
            self._system.rename(source, target)
        except FileNotFoundError:
            if existing(self._system, source) is not None:
                raise  # what stays at the first place would count as one that may go

    def prepare(self) -> None:
        """Make the next live file ready under the name of a draft."""
        self._content = self._hooks.head()
        self._draft = self._drafts.make_locked(os.path.dirname(self._live), self._content)

    def open_epoch(self) -> None:
        """Tell the writers that names are being changed; from here on they look twice."""
        # Now, and once for all: what comes later belongs into the next file, the new period's.
        self._period_is_over = self._timetable is not None and self._timetable.is_due()
        if self._page is not None:
            status = existing(self._system, self._live)
            if status is not None:
                # Made by somebody else, with the number of a file that was sealed; or such a one, put back.
                self._page.clear(status)
                self._system.drop_note(self._live)
            self._page.set_under_way(status, period_is_over=self._period_is_over)
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
        if self._keep:
            self._will_be_handed_on(status)  # before it is: a process may die between any two lines
        if mover is None:
            self._system.rename(self._live, target)
            self._aside = target
        else:
            # It may copy and delete. Who still has the file open, and writes after this look at
            # its length, must not believe that the record has been moved along.
            if self._page is not None:
                length = self._system.status(self._live).st_size
                self._page.seal(status, length, until=(self._page.look() | 1) + 1)
            mover(self._live, target)
            self._will_be_handed_on(existing(self._system, target))
        if self._page is not None:
            self._page.count_rotation()
        self._has_set_aside = True

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

    def reschedule(self) -> None:
        """Begin the next period, if the one of the file that was set aside is over."""
        if self._timetable is None:
            return
        if not self._has_set_aside and self._page is not None:  # this is the end of another's rotation
            under_way, live = self._page.under_way(), existing(self._system, self._live)
            if under_way is not None:
                self._has_set_aside = live is None or identity_of(live) != under_way.file
                self._period_is_over = under_way.period_is_over
        if self._has_set_aside and self._period_is_over:
            self._timetable.move()

    def close_epoch(self) -> None:
        """Tell the writers that the names are stable again."""
        if self._page is not None:
            self._page.set_under_way(None)
            self._page.close_epoch()

    def discard(self) -> None:
        """Delete what was set aside for that, now or by a process that died."""
        self.discard_draft()
        with contextlib.suppress(FileNotFoundError):
            path = self._discarded()
            # For what this run has set aside, `set_aside` has waited.
            delete(self._system, self._page, path, leases_are_over=path == self._aside)

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
            else:
                self.reschedule()
        except OSError as error:
            self._hooks.report("cannot undo a rotation", error)
        self.close_epoch()

    def _first_backup(self) -> str:
        """Return the name for the live file; free, unless the namer knows no numbers."""
        path = self._backups.next_path()
        if os.path.realpath(path) == os.path.realpath(self._live):
            raise OSError(errno.EINVAL, "namer gives a backup the name of the log itself", path)
        self._delete_all(self._backups.at(path))
        return path

    def _settled(self, place: Place) -> Place:
        """Make one of the two files that a dead compressor has left of a backup, before they are renamed."""
        plain, *others = place.extensions or (None,)
        if plain != PLAIN or not others or self._page is None:
            return place
        dropped = self._drafts.new_path(os.path.dirname(place.path))
        paths = [place.path + each for each in others]
        with contextlib.suppress(OSError):  # both are renamed then
            if drop_if_published(self._system, self._page, place.path, paths, dropped):
                self._system.unlink(dropped)
                return place._replace(extensions=tuple(others))
        return place

    def _delete_all(self, paths: List[str]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                delete(self._system, self._page, path)

    def _will_be_handed_on(self, backup: Optional[os.stat_result]) -> None:
        """Note a backup for the upkeep, which may be that of another process."""
        if backup is None or self._page is None or self._hooks.hand_on() is None:
            return
        waiting = self._page.waiting()
        if backup.st_ino in waiting:
            return
        self._page.set_waiting([*waiting, backup.st_ino])
        if len(waiting) >= MOST_WAITING:
            error = OverflowError(f"more than {MOST_WAITING} old files wait for it, the oldest is left out")
            self._hooks.report("on_rotate is slower than the rotations", error)

    def _discarded(self) -> str:
        return self._names.discarded(os.path.dirname(self._live))

    def _is_in_ring(self, status: os.stat_result) -> bool:
        return self._page is not None and self._page.entry(status) is not None


STEPS = [
    Rotation.expire,
    Rotation.shift,
    Rotation.prepare,
    Rotation.open_epoch,
    Rotation.set_aside,
    Rotation.publish,
    Rotation.reschedule,
    Rotation.close_epoch,
    Rotation.discard,
]
# These would do harm if somebody had deleted the lock file, and a peer rotated under a new one.
CHANGE_NAMES = {Rotation.expire, Rotation.shift, Rotation.set_aside}
RECOVERY = STEPS[STEPS.index(Rotation.publish) :]
