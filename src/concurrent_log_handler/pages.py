"""Finding, making and mending the page of a log.

The page is a file like others, and somebody may delete it, cut it or write into it. Then those who
have it open, and those who find nothing (or something else) at its path, would look at different
pages, and not see each other's rotations. So

* every writer sees twice a second whether its page is the one at the path;
* who rotates sees to that under the lock, before the first name is changed;
* who takes another page cuts the old one to nothing, and whoever still has that open notices with
  the next look;
* a page that is made where there have been a log and a lock file before carries the time of its
  birth, and nothing is rotated until all have had the time to see it (`Page.time_to_wait`). Where there
  has been a log only, both may have been deleted; then nothing is consumed until then (`time_until_seen`).
"""

import contextlib
import errno
import os
from typing import Optional

from concurrent_log_handler.drafts import DraftRoom, Report, existing
from concurrent_log_handler.lock import FileLock
from concurrent_log_handler.naming import Names
from concurrent_log_handler.state import OtherVersionError, Page, PageError, new_page
from concurrent_log_handler.system import System

CANNOT_USE = "cannot use the page"


class Pages:
    """The page of one log, as long as there is one at its path that is of use."""

    def __init__(
        self, system: System, names: Names, drafts: DraftRoom, lock: FileLock, patience: float, report: Report
    ) -> None:
        self._system = system
        self._names = names
        self._drafts = drafts
        self._lock = lock
        self._patience = patience
        self._report = report
        self.page: Optional[Page] = None

    def refresh(self, make: bool) -> Optional[Page]:
        """Return the page that stands at its path now, or None; raise `OSError` if it is of no use.

        Args:
            make: whether to make it if it is missing, and mend it if it is of no use.

        """
        page = self.page
        try:
            if page is None or not self._stands(page):
                self._retire()
                page = self._open(make)
            page.head()
        except FileNotFoundError:  # and it is not to be made; or there is no such directory
            page = None
        except OtherVersionError:  # it is left to those who know it
            self.page = None
            raise
        except PageError:
            page = self._mend() if make else None
        except OSError:
            self.page = None
            raise
        self.page = page
        return page

    def require(self) -> Page:
        """Return the page that stands at its path, for who changes names under the lock."""
        page = self.refresh(make=True)
        if page is None or not page.writable:
            raise PermissionError(errno.EACCES, "the page cannot be written", self._names.state)
        return page

    def close(self) -> None:
        """Close the page now, not when its last view is gone."""
        page, self.page = self.page, None
        if page is not None:
            page.close()

    def _stands(self, page: Page) -> bool:
        """Tell whether the page at the path is this one, and its descriptor still leads to it."""
        with contextlib.suppress(OSError):
            there, here = self._system.status(self._names.state), self._system.status_of(page.fd)
            return os.path.samestat(there, page.status) and os.path.samestat(here, page.status)
        return False

    def _retire(self) -> None:
        """Let who still has the old page open notice that with the next look."""
        page, self.page = self.page, None
        if page is not None and page.writable:
            with contextlib.suppress(OSError):
                page.retire()

    def _open(self, make: bool) -> Page:
        try:
            return Page.open(self._system, self._names.state)
        except FileNotFoundError:
            if not make:
                raise
            self._drafts.bring_about(self._names.state, self._new())
            return Page.open(self._system, self._names.state)

    def _new(self) -> bytes:
        log_was_there = existing(self._system, self._names.log) is not None
        has_predecessor = log_was_there and self._lock.was_there
        return new_page(has_predecessor=has_predecessor, log_was_there=log_was_there)

    def _mend(self) -> Page:
        """Replace a page that is of no use, under the lock."""
        held = self._lock.held
        if not held and not self._lock.acquire(self._patience):
            raise PageError("the page is of no use, and a peer holds the lock")
        try:
            return self._replace()
        finally:
            if not held:
                self._lock.release()

    def _replace(self) -> Page:
        with contextlib.suppress(PageError, FileNotFoundError):  # a peer may have done it meanwhile
            return Page.open(self._system, self._names.state)
        old = Page(self._system, self._system.open_helper(self._names.state, writable=True), writable=True)
        draft = self._drafts.make(self._names.helper_directory, self._new(), helper=True)
        try:
            self._system.rename(draft.path, self._names.state)
            draft.close()
            with contextlib.suppress(OSError):
                old.retire()
        except BaseException:
            draft.discard()
            raise
        finally:
            old.close()
        return Page.open(self._system, self._names.state)
