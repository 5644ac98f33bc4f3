"""An open live file, as a writer holds it."""

import os
from typing import List, Optional

from concurrent_log_handler.state import Page
from concurrent_log_handler.system import System

SHARE = 64  # of what is left of a file, after which its length is looked at again
MOST_REMEMBERED = 16384
"""Bytes of records after which a look is due in any case, so that they can be forgotten.

Records that are remembered take new memory for each, which costs more than the look as soon as they fill the
processor's nearest cache.
"""
UNSTABLE = -(2**62)  # the epoch of a view that has none; less than any, and no page is so short
NEVER = float("-inf")
ALWAYS = float("inf")


class View:
    """An open live file, and the epoch at which it was the live one.

    A view is not changed but replaced, and closes its file when the last user has let go of it. So
    a record that is logged in the middle of another one's append (by a signal handler, say) may
    replace it without taking the descriptor away from the append that it interrupted.
    """

    __slots__ = (
        "_system",
        "device",
        "epoch",
        "fd",
        "full_at",
        "inode",
        "looked_at",
        "page",
        "recent",
        "remember",
        "size",
        "status",
        "until",
    )

    def __init__(
        self, system: System, fd: int, status: os.stat_result, page: Optional[Page], epoch: int
    ) -> None:
        self._system = system
        self.fd = fd
        self.status = status
        self.device = status.st_dev
        self.inode = status.st_ino
        self.page = page
        self.epoch = epoch
        self.size = self.looked_at = status.st_size
        # What was written by the lease since the length was `looked_at`.
        self.recent: List[bytes] = []
        self.remember = self.recent.append
        self.full_at = self.until = NEVER  # no lease yet

    def measure(self, size: int, limit: int) -> bool:
        """Take note of the length of the file, and of how much may be written before the next look at it.

        Returns whether it is full. Not so for a view without a stable epoch: names are being
        changed, and its file may have been renamed because it was full.
        """
        del self.recent[:]
        self.size = self.looked_at = size
        if limit <= 0:
            self.full_at = size + MOST_REMEMBERED
            return False
        self.full_at = size + min(max(limit - size, 0) // SHARE, MOST_REMEMBERED)
        return size >= limit and self.epoch != UNSTABLE

    def close(self) -> None:
        """Close the file, if it still is the one."""
        fd, self.fd = getattr(self, "fd", -1), -1  # __init__ may have been interrupted
        if fd >= 0:
            self._system.close(fd, self.status)

    def finish(self) -> None:
        """Close the file now; raise `OSError` for what NFS has to say of the writes only here."""
        fd, self.fd = self.fd, -1
        self._system.close_finally(fd)

    def __del__(self) -> None:
        self.close()
