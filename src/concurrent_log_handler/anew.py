"""Starting a log anew, as `mode="w"` asks: what stood there when the handler was made is discarded, once.

The first record does it. That may be logged by any of the processes that the handler gets into (by `fork`, or pickled),
and by several of them at the same time: eight workers of one server, say, which must not discard each other's records. So
the handler remembers which file it was made over, how long that was, and how many rotations there had been. Whoever is
the first to find all three unchanged, under the lock, discards that file, which is a rotation; nobody finds them so after
that, nor after somebody has logged to the old file, because the lock could not be had in time.
"""

from typing import NamedTuple, Optional

from concurrent_log_handler.drafts import existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.state import Identity, identity_of
from concurrent_log_handler.system import is_regular


class Standing(NamedTuple):
    """What tells the content that a log has now from all that it will have later."""

    file: Identity
    length: int
    rotations: int


class FreshStart:
    """What is still to be discarded, if anything."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.over = self._standing() if files.settings.mode == "w" else None

    def make(self) -> None:
        """Discard what stood there when the handler was made; its writers go on with a new file."""
        if self.over is not None:
            try:
                self._discard(self.over)
            finally:
                self.over = None  # and no earlier: copies that are made meanwhile have to know

    def _discard(self, over: Standing) -> None:
        files = self._files
        if over != self._standing():
            return
        files.wait_until_page_is_old_enough()
        if not files.try_lock(files.settings.patience):
            if over == self._standing():  # else the peer has done it
                files.hooks.report("cannot start the log anew", TimeoutError("a peer holds the lock"))
            return
        try:
            if over == self._standing():
                rotated = files.rotate(keep=0)
                files.rotations -= rotated  # it was asked for by `mode`
        finally:
            files.lock.release()

    def _standing(self) -> Optional[Standing]:
        files = self._files
        status = existing(files.system, files.names.log)
        if status is None or not is_regular(status) or not status.st_size:
            return None
        was_open = files.page is not None
        page = files.refresh_page(make=False)
        rotations = 0 if page is None else page.head().rotations
        if not was_open:
            files.pages.close()
        return Standing(identity_of(status), status.st_size, rotations)
