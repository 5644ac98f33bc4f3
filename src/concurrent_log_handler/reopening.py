"""After a rotation: opening the live file of a stable epoch, and for how long one is waited for.

An odd epoch says that names are being changed right now. If the lock is free, whoever did that has died,
and its work is finished here. Else it lives, and may be frozen, so nobody waits for longer than the
patience that the user has set, and then not again for every record: the writer goes on *without an
epoch*, and asks after each of its records one by one (`kept.py`).
"""

import time
from typing import Callable

from concurrent_log_handler.files import Files
from concurrent_log_handler.kept import is_sealed
from concurrent_log_handler.state import EXCLUSIVE, Page, PageError
from concurrent_log_handler.view import NEVER, UNSTABLE, View

BACK_OFF = 1.0
SHORTEST_PAUSE = 0.00002  # names are changed by two system calls, as a rule
LONGEST_PAUSE = 0.001


class Reopening:
    """Opens the live file of one log, again and again."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.wait_again_at = NEVER

    def reopen(self, at_hand: Callable[[], View]) -> View:
        """Open the live file of a stable epoch; if there is none for too long, go on without.

        Args:
            at_hand: returns the view that the writer has, which a record that comes in the middle of this may exchange.

        Raises `PageError` if the page is of no use or asks for the exclusive mode, `NotRegularError` if
        the log has become a device.

        """
        files, pause = self._files, SHORTEST_PAUSE
        now = time.monotonic()
        deadline = now + (files.settings.patience if now >= self.wait_again_at else 0.0)
        while files.page is not None:
            page = files.page
            epoch = page.look()
            if epoch % 2 == 0:
                if page.head().mode == EXCLUSIVE:
                    break
                view = files.open_live(epoch)
                files.glance_at_time()
                if page.look() == epoch:
                    self.wait_again_at = NEVER
                    return view
                view.close()  # on PyPy, nobody else would for long
            elif self._recover():
                continue
            if time.monotonic() >= deadline or files.lock.held:
                return self._without_epoch(page, at_hand())
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise PageError("there is no page for the atomic mode")

    def _recover(self) -> bool:
        """Finish what a dead rotator left; return False if it lives, as far as one can tell."""
        files, page = self._files, self._files.page
        if page is None or not page.writable or not files.try_lock():
            return False
        try:
            files.recover()
        finally:
            files.lock.release()
        return True

    def _without_epoch(self, page: Page, view: View) -> View:
        """Return what to append to while a rotator is frozen; each record is settled one by one.

        The file at hand will do as long as it is neither sealed nor without a name. Patience is
        spent once in a while, not for every record.
        """
        files = self._files
        files.trace("a rotation takes long; going on without waiting for it")
        self.wait_again_at = time.monotonic() + BACK_OFF
        usable = view.page is page and not is_sealed(files.system, page, view)
        if usable and files.system.status_of(view.fd).st_nlink:
            view.epoch = UNSTABLE  # so no lease
            return view
        return files.open_live(UNSTABLE)
