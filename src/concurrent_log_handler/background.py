"""A rotation with many backups, finished in a thread.

The numbers of the backups are in their names, so a rotation renames all of them. Some dozens cost
less than a millisecond. A thousand cost thirty, which is too long for the logging call that found
the file full: it renames the first few, hands the rest to a thread, and appends its record to the
full file, as all its peers do until the thread has finished.

The thread has files of its own (a lock above all, which is not re-entrant), and frees the lock
between two helpings, so that writers in the exclusive mode get their turn. It is no daemon: the
interpreter waits for it at its end, some milliseconds. Where threads do not run (uWSGI without
`--enable-threads`) or cannot be started any more, the rotation is finished in the calls themselves.
"""

import threading
import time
from typing import Callable, Optional

from concurrent_log_handler.files import Files
from concurrent_log_handler.rotation import Moves

PATIENCE = 1.0
PAUSE = 0.0005


class BackgroundRotation:
    """At most one thread that finishes a rotation of one log."""

    def __init__(self, make_files: Callable[[], Files], done: Callable[[int], None]) -> None:
        """Prepare, without a thread.

        Args:
            make_files: makes files of the log for the thread.
            done: called in the thread at its end with the number of rotations that it made.

        """
        self._make_files = make_files
        self._done = done
        self._thread: Optional[threading.Thread] = None
        self._give_up_at = 0.0
        self._files: Optional[Files] = None

    def is_at_it(self) -> bool:
        """Tell whether the thread will finish, as far as one can tell."""
        if self._thread is None or not self._thread.is_alive():
            return False
        return time.monotonic() < self._give_up_at

    def finish(self, moves: Moves) -> None:
        """Finish a shift of which these moves are left, and the rotation."""
        files = self._make_files()
        files.moves = moves
        self._files = files
        self._give_up_at = time.monotonic() + PATIENCE
        self._thread = threading.Thread(target=self._run, args=(files,), name="concurrent-log-handler")
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is at its end
            self._thread = None

    def wait(self, timeout: float) -> None:
        """Wait for the thread, for `timeout` seconds at the most."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def forget(self) -> None:
        """In a forked child: there is no thread here, and the files are the parent's."""
        files, self._files, self._thread = self._files, None, None
        if files is not None:
            files.pages.close()
            files.close()

    def _run(self, files: Files) -> None:
        try:
            files.refresh_page(make=False)
            while not files.rotate_if_due() and time.monotonic() < self._give_up_at:
                time.sleep(PAUSE)
        finally:
            self._files = None
            files.close()
            self._done(files.rotations)
