"""What a rotation leaves to do, done in a thread, so that the logging call that rotated does not wait.

*A shift of many backups.* The numbers of the backups are in their names, so a rotation renames all
of them. Some dozens cost less than a millisecond. A thousand cost thirty, which is too long for the
logging call that found the file full: it renames the first few, hands the rest to the thread, and
appends its record to the full file, as all its peers do until the thread has finished.

*The upkeep* after a rotation (`upkeep.py`), with the user's own code in it.

The thread has files of its own (a lock above all, which is not re-entrant), and frees the lock
between two helpings, so that writers in the exclusive mode get their turn. It is no daemon: the
interpreter waits for it at its end. Where threads do not run (uWSGI without `--enable-threads`) or
cannot be started any more, the work is done in the calls themselves.
"""

import contextlib
import threading
import time
from typing import Callable, ContextManager, Iterable, List, Optional

from concurrent_log_handler.files import Files
from concurrent_log_handler.rotation import Moves
from concurrent_log_handler.upkeep import Upkeep

PATIENCE = 1.0
PAUSE = 0.0005

Work = Callable[[Files], None]


class Background:
    """At most one thread that works for one log."""

    def __init__(
        self,
        make_files: Callable[[], Files],
        guard: Callable[[], ContextManager[bool]],
        rotated: Callable[[int], None],
    ) -> None:
        """Prepare, without a thread.

        Args:
            make_files: makes files of the log for the thread.
            guard: gives what the threads of this process hold while they wait for the lock.
            rotated: called in the thread with the number of rotations that it made.

        """
        self._make_files = make_files
        self._guard = guard
        self._rotated = rotated
        self._reset()

    def _reset(self) -> None:
        self._mutex = threading.RLock()  # a signal handler may log, and rotate, at any moment
        self._thread: Optional[threading.Thread] = None
        self._files_at_work: List[Files] = []
        self._work: List[Work] = []
        self._give_up_at = 0.0

    def is_busy(self) -> bool:
        """Tell whether the thread has something to do, and this is not the thread itself."""
        thread = self._thread
        return thread is not None and thread.is_alive() and thread is not threading.current_thread()

    def is_rotating(self) -> bool:
        """Tell whether the thread will finish a rotation, as far as one can tell."""
        return self.is_busy() and time.monotonic() < self._give_up_at

    def finish(self, moves: Moves, *, may_work_here: bool) -> None:
        """Finish a shift of which these moves are left, and the rotation, and do the upkeep.

        Args:
            moves: what is left of the shift.
            may_work_here: whether the caller can do it, as one who has not got the lock.

        """
        self._give_up_at = deadline = time.monotonic() + PATIENCE

        def finish(files: Files) -> None:
            files.moves = moves
            while not files.rotate_if_due() and time.monotonic() < deadline:
                time.sleep(PAUSE)
            self._give_up_at = 0.0
            if files.owes_upkeep:
                self._tidy(files)

        self._begin(finish, may_work_here)

    def tidy(self, *, may_work_here: bool) -> bool:
        """Do the upkeep after a rotation; return False if it has to be asked for again."""
        return self._begin(self._tidy, may_work_here)

    def tidy_here(self) -> None:
        """Do the upkeep in the calling thread."""
        self._work_through([self._tidy])

    def forget(self) -> None:
        """In a forked child: there is no thread here, and the files are the parent's."""
        all_files = self._files_at_work
        self._reset()
        for files in all_files:
            files.pages.close()
            files.close()

    def _tidy(self, files: Files) -> None:
        Upkeep(files, self._guard()).run()

    def _begin(self, work: Work, may_work_here: bool) -> bool:
        """Have the thread do this next; without one, do it here, if that may be."""
        with self._mutex:
            if self._thread is not None:
                if work not in self._work:
                    self._work.append(work)
                return True
            thread = threading.Thread(target=self._run, name="concurrent-log-handler")
            self._work.append(work)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is at its end
                self._work.remove(work)
            else:
                self._thread = thread  # not before: whoever finds it may wait for it
                return True
        if may_work_here:
            self._work_through([work])
        return may_work_here

    def _run(self) -> None:
        try:
            self._work_through(iter(self._next, None))
        finally:
            with self._mutex:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _next(self) -> Optional[Work]:
        """Return what the thread has to do next; None ends it, and the next work begins another."""
        with self._mutex:
            if self._work:
                return self._work.pop(0)
            if self._thread is threading.current_thread():
                self._thread = None
            return None

    def _work_through(self, all_work: Iterable[Work]) -> None:
        files = self._make_files()
        self._files_at_work.append(files)
        try:
            for work in all_work:
                files.refresh_page(make=False)
                before = files.rotations
                work(files)
                self._rotated(files.rotations - before)
        finally:
            with contextlib.suppress(ValueError):  # a forked child has begun with an empty list
                self._files_at_work.remove(files)
            files.close()
