"""One backup is compressed: the steps, and what happens to those of a process that died.

| step      | lock | what it does                                                    | killed right after it            |
|-----------|------|-----------------------------------------------------------------|----------------------------------|
| choose    | yes  | looks whether the backup is still there; moves the epoch        | nothing has been changed         |
| copy      |      | writes what it holds to a draft, compressed; leases run out     | a draft: swept, and begun anew   |
| seal      | yes  | fixes how much of the backup is kept (`sealing.py`)             | the same; the length is final    |
| complete  |      | reads the rest, sets owner, mode and times, brings all to disk  | the same                         |
| publish   | yes  | gives the draft its name: `app.log.1.gz`                        | two files: `settle` drops one    |
| drop      | yes  | takes its name from the plain file                              | a draft: swept                   |
| clear     |      | deletes that                                                    |                                  |

Nobody waits for the long ones, `copy` and `complete`, nor for the deletion of a large file. What takes
the lock lasts for a few system calls.

A backup is known by its inode. While it is being compressed, rotations go on, and those of numbered
backups rename it; it may expire, and an operator may move or delete it. Its path is looked up again
for each step under the lock, and if there is none any more, the work is thrown away.

**Two files of one backup.** Nothing is sealed while a compressed file stands beside the plain one. So a
sealed plain file with a compressed one of the very same time was published, which means that it is whole,
by a process that did not come to drop it: it is dropped now. Else the compressed file comes from
elsewhere: 0.9.x was killed in the middle of it, or somebody has used gzip by hand. Then they are compared.
If the compressed file holds what the plain one does, or its beginning, it is made anew. If it holds
something else, it is none of ours to judge: both stay, and count as one backup.
"""

import contextlib
import errno
import os
import time
from typing import Callable, List, Optional, TypeVar

from concurrent_log_handler.backups import File, Standing
from concurrent_log_handler.compression import READ_AT_ONCE, Codec, content_of
from concurrent_log_handler.drafts import Draft, existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.packing import Packer, Target
from concurrent_log_handler.registry import forks_wait
from concurrent_log_handler.sealing import delete, final_length, seal
from concurrent_log_handler.state import ATOMIC, GONE, GRACE, Page, identity_of

LARGEST_RESERVE = 1 << 20
LOOKS = 20
NEVER = float("-inf")

T = TypeVar("T")


class GoneError(Exception):
    """The backup has expired meanwhile, or somebody has moved or changed it."""


class Compressor:
    """Compresses one backup."""

    def __init__(
        self,
        files: Files,
        codec: Codec,
        under_lock: "Callable[[Callable[[Page], object]], object]",
        advance: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            files: the files of the log.
            codec: what to compress by.
            under_lock: does something with the page while the lock is held.
            advance: called whenever something has been done.

        """
        self._files = files
        self._system = files.system
        self._codec = codec
        self._under_lock = under_lock
        self._advance = advance
        self._fd = -1
        self._status = os.stat_result(10 * (0,))
        self._path = ""
        self._draft: Optional[Draft] = None
        self._packer: Optional[Packer] = None
        self._read = 0
        self._leases_end = NEVER
        self._limit: Optional[int] = None
        self._dropped: Optional[str] = None

    def run(self, backup: Standing) -> None:
        """Compress a backup, or settle what has been begun.

        Raises `GoneError` if it has gone meanwhile, `OSError` or what the codec raises if it cannot be
        compressed, and leaves it as it is.
        """
        plain = backup.files[0]
        self._path = plain.path
        try:
            self._fd = self._open(plain)
            self._status = self._system.status_of(self._fd)
            if identity_of(self._status) != identity_of(plain.status):
                raise GoneError
            if len(backup.files) == 1 or not self._settle(backup):
                self._compress()
        finally:
            self._let_go()

    def abandon(self) -> None:
        """In a forked child: close what is the parent's to go on with."""
        if self._packer is not None:
            self._packer.abandon()
        if self._draft is not None:
            self._draft.close()
        self._close()

    def _compress(self) -> None:
        self._locked(self._choose)
        self._step("choose")
        with forks_wait():
            draft = self._draft = self._files.drafts.make_private(os.path.dirname(self._path))
            self._packer = self._codec.pack(self._target(draft))
        self._copy(self._limit)
        self._step("copy")
        time.sleep(max(self._leases_end - time.monotonic(), 0.0))  # not under the lock
        length = self._locked(self._seal)
        self._step("seal")
        self._copy(length)
        self._complete(draft, length)
        self._step("complete")
        self._locked(lambda page: self._publish(page, draft))
        self._clear()

    def _locked(self, do: Callable[[Page], T]) -> T:
        """Do something under the lock, once it is known what the backup is called at present."""
        results: List[T] = []

        def do_if_there(page: Page) -> None:
            if self._is_at(self._path):
                results.append(do(page))

        for _ in range(LOOKS):
            self._under_lock(do_if_there)
            if results:
                return results[0]
            self._path = self._find()
        raise GoneError

    def _find(self) -> str:
        """Return the path of the backup; this may ask code of the user's, and so takes no lock."""
        identity = identity_of(self._status)
        for backup in self._files.backups.standing():
            for file in backup.files:
                if identity_of(file.status) == identity:
                    return file.path
        raise GoneError

    def _is_at(self, path: str) -> bool:
        status = existing(self._system, path)
        return status is not None and identity_of(status) == identity_of(self._status)

    def _choose(self, page: Page) -> None:
        """Let go whoever may still have the backup open as the live file, as far as one can."""
        live = existing(self._system, self._files.names.log)
        identity = identity_of(self._status)
        if page.in_hand() == identity or (live is not None and identity_of(live) == identity):
            raise GoneError
        self._limit = final_length(self._system, page, self._fd)
        if self._limit == 0 and self._status.st_size:  # who was about to delete it has died
            delete(self._system, page, self._path)
            raise GoneError
        if page.head().mode == ATOMIC:
            # Not only a rotation may have given it this name: an operator's `mv` moves no epoch.
            page.move_epoch()
            self._leases_end = time.monotonic() + GRACE

    def _seal(self, page: Page) -> int:
        return seal(self._system, page, self._fd, self._read)

    def _publish(self, page: Page, draft: Draft) -> None:
        """Give the draft the name of the backup, and take it from the plain file; the lock is held."""
        target = self._path + self._codec.extension
        if not self._files.lock.is_at_its_path():
            raise OSError(errno.ENOLCK, "the lock file has been replaced meanwhile", self._files.names.lock)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something stands there", target)
        if not self._system.link(draft.path, target):
            self._system.rename(draft.path, target)
        self._step("publish")
        try:
            self._drop(page)
        except OSError:  # in a directory where everybody may only delete what is theirs
            self._system.unlink(target)
            raise
        waiting = page.waiting()
        if self._status.st_ino in waiting:
            place = waiting.index(self._status.st_ino)
            page.set_waiting([*waiting[:place], draft.status.st_ino, *waiting[place + 1 :]])
        self._step("drop")

    def _drop(self, page: Page) -> None:
        """Take its name from a plain file, sealed by now, of which there is a compressed one."""
        dropped = self._files.drafts.new_path(os.path.dirname(self._path))
        self._system.rename(self._path, dropped)
        self._dropped = dropped
        page.seal(self._status, final_length(self._system, page, self._fd) or 0, until=GONE)

    def _clear(self) -> None:
        if self._dropped is not None:
            with contextlib.suppress(FileNotFoundError):  # swept by a peer
                self._system.unlink(self._dropped)
        self._step("clear")

    # ---- two files of one backup

    def _settle(self, backup: Standing) -> bool:
        """Make one file of two; return False if the plain one is the one to go on with."""
        others = backup.files[1:]
        is_sealed = self._locked(lambda page: final_length(self._system, page, self._fd)) is not None
        if is_sealed and any(each.status.st_mtime_ns == self._status.st_mtime_ns for each in others):
            self._locked(self._drop)
            self._clear()
            return True
        for other in others:
            self._compare(other)
        for other in others:
            self._locked(lambda _, other=other: self._delete_other(other))  # type: ignore[misc]
        return False

    def _compare(self, other: File) -> None:
        """Raise `OSError` unless a compressed file holds what the plain one does, or the beginning of it."""
        pieces = content_of(other.path, other.path[len(self._path) :])
        same, position = pieces is not None, 0
        try:
            for piece in pieces or ():
                self._advance()
                same = same and self._system.read_at(self._fd, len(piece), position) == piece
                position += len(piece)
        except EOFError:  # cut short, as by the death of who wrote it
            pass
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            same = False
        if not same:
            reason = "holds something else than the file beside it, and so is not replaced"
            raise OSError(errno.EEXIST, reason, other.path)

    def _delete_other(self, other: File) -> None:
        status = existing(self._system, other.path)
        if status is not None and identity_of(status) == identity_of(other.status):
            self._system.unlink(other.path)

    # ---- reading and writing

    def _open(self, plain: File) -> int:
        try:
            return self._system.open_shared(plain.path, writable=False)
        except FileNotFoundError:
            raise GoneError from None

    def _target(self, draft: Draft) -> Target:
        return Target(
            path=draft.path,
            fd=draft.fd,
            write=self._append,
            divert=lambda: self._system.divert(draft.status),
            name=os.fsencode(os.path.basename(self._path)),
            modified=self._status.st_mtime,
        )

    def _append(self, data: bytes) -> None:
        """Append to the draft, all of it."""
        while data and self._draft is not None:
            data = data[self._system.write(self._draft.fd, data) :]

    def _copy(self, end: Optional[int]) -> None:
        """Compress up to a position, or as far as the file goes."""
        while self._packer is not None and (end is None or self._read < end):
            size = READ_AT_ONCE if end is None else min(READ_AT_ONCE, end - self._read)
            data = self._system.read_at(self._fd, size, self._read)
            if not data:
                break
            self._check_space(len(data))
            self._packer.write(data)
            self._read += len(data)
            self._advance()

    def _check_space(self, size: int) -> None:
        """Raise `OSError` if what is compressed could take the space that the log itself needs next."""
        reserve = min(self._files.settings.max_bytes or LARGEST_RESERVE, LARGEST_RESERVE)
        directory = os.path.dirname(self._path)
        if self._system.free_bytes(directory) < reserve + size:
            raise OSError(errno.ENOSPC, "too little space is left", directory)

    def _complete(self, draft: Draft, length: int) -> None:
        if self._packer is not None:
            self._packer.finish()
        path = self._path
        if self._read != length:
            raise OSError(errno.ESTALE, "has been cut meanwhile", path)
        status = existing(self._system, draft.path)
        if status is None or identity_of(status) != identity_of(draft.status) or not status.st_size:
            raise OSError(
                errno.EIO, "the codec has written nothing to the file that it was given", draft.path
            )
        self._files.drafts.dress(draft, self._system.status_of(self._fd))
        self._system.sync(draft.fd)
        self._advance()

    # ---- letting go

    def _step(self, name: str) -> None:
        self._advance()
        self._files.hooks.after_step(name)

    def _let_go(self) -> None:
        packer, self._packer = self._packer, None
        if packer is not None:
            packer.give_up()
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._system.close(fd, self._status)
