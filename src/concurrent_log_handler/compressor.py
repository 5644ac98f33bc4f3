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
for each step under the lock, and if there is none any more, the work is thrown away. So it is if another
file comes to light under a number: code that turns a process into a daemon closes descriptors by their numbers.

**Two files of one backup.** Nothing is sealed while a compressed file stands beside the plain one. So a
sealed plain file with a compressed one of the very same time was published, which means that it is whole,
by a process that did not come to drop it: it is dropped now (or by the next rotation, before it renames
the two). Else the compressed file comes from
elsewhere: 0.9.x was killed in the middle of it, or somebody has used gzip by hand. Then they are compared.
If the compressed file holds what the plain one does, or its beginning, it is made anew. If it holds
something else, it is none of ours to judge: both stay, and count as one backup.
"""

import contextlib
import errno
import functools
import os
import time
from typing import Callable, Iterable, List, Optional, TypeVar

from concurrent_log_handler.backups import File, Standing
from concurrent_log_handler.compression import READ_AT_ONCE, Codec, content_of
from concurrent_log_handler.drafts import Draft, existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.packing import Packer, Target
from concurrent_log_handler.registry import forks_wait
from concurrent_log_handler.sealing import delete, drop, drop_if_published, final_length, is_condemned, seal
from concurrent_log_handler.state import ATOMIC, GONE, GRACE, Page, identity_of

LARGEST_RESERVE = 1 << 20
LOOKS = 20
NEVER = float("-inf")
NO_STATUS = os.stat_result(10 * (0,))

T = TypeVar("T")


class GoneError(Exception):
    """The backup has expired meanwhile, or somebody has moved or changed it, or has it in hand."""


class CodecError(Exception):
    """A codec has failed, and told the name of the draft."""


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
        self._status = NO_STATUS
        self._path = self._first_path = ""
        self._draft: Optional[Draft] = None
        self._packer: Optional[Packer] = None
        self._is_abandoned = False
        self._read = 0
        self._leases_end = NEVER
        self._length: Optional[int] = None  # what it is sealed with
        self._dropped = ""

    def run(self, backup: Standing) -> None:
        """Compress a backup, or settle what has been begun.

        Raises `GoneError` if it has gone meanwhile, `OSError` or what the codec raises if it cannot be
        compressed, and leaves it as it is.
        """
        plain = backup.files[0]
        self._status, self._path, self._first_path = plain.status, plain.path, plain.path
        try:
            with forks_wait():
                self._fd = self._open(plain.path)
            self._status = self._system.status_of(self._fd)
            if len(backup.files) == 1 or not self._settle(backup):
                self._compress()
        except Exception as error:
            if self._length is not None and not self._dropped:
                with contextlib.suppress(Exception):  # it was only an attempt to tidy up
                    self._under_lock(self._leave_sealed)
            if self._draft is not None and self._draft.path in str(error):
                # That name is another one each time, and the same cause would be told each time.
                raise CodecError(str(error).replace(self._draft.path, "a draft")) from error
            raise
        finally:
            self._let_go()

    def abandon(self) -> None:
        """In a forked child: close what is the parent's to go on with."""
        self._is_abandoned = True
        packer, self._packer = self._packer, None
        if packer is not None:
            packer.abandon()
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.close()
        self._close()

    def _compress(self) -> None:
        self._locked(self._choose)
        self._step("choose")
        with forks_wait():
            draft = self._draft = self._files.drafts.make_private(os.path.dirname(self._path))
            self._packer = self._codec.pack(self._target(draft))
        self._copy(self._packer, self._length)
        self._step("copy")
        time.sleep(max(self._leases_end - time.monotonic(), 0.0))  # not under the lock
        self._length = self._locked(self._seal)
        self._step("seal")
        self._copy(self._packer, self._length)
        self._packer.finish()
        self._complete(draft, self._length)
        self._step("complete")
        self._locked(functools.partial(self._publish, draft, self._length))
        self._clear()

    # ---- under the lock

    def _locked(self, do: Callable[[Page], T]) -> T:
        """Do something under the lock, once it is known what the backup is called at present."""
        results: List[T] = []

        def do_if_there(page: Page) -> None:
            if self._is_at(self._path):
                if is_condemned(self._system, page, self._fd):
                    delete(self._system, page, self._path)
                    raise GoneError
                results.append(do(page))

        for _ in range(LOOKS):
            self._under_lock(do_if_there)
            if results:
                return results[0]
            self._path = self._find()
        raise GoneError

    def _find(self) -> str:
        """Return the path of the backup; this may ask code of the user's, and so takes no lock."""
        directory, backups = os.path.dirname(self._path), self._files.backups
        for name in self._system.names_of_inode(directory, self._status.st_ino):
            path = os.path.join(directory, name)
            if self._is_at(path) and self._is_plain(path) and backups.owns(path):
                return path
        for backup in backups.standing():
            for file in backup.files:
                if identity_of(file.status) == identity_of(self._status) and self._is_plain(file.path):
                    return file.path
        raise GoneError

    def _is_plain(self, path: str) -> bool:
        return not path.endswith(self._files.extensions())

    def _is_at(self, path: str) -> bool:
        status = existing(self._system, path)
        return status is not None and identity_of(status) == identity_of(self._status)

    def _choose(self, page: Page) -> None:
        """Let go whoever may still have the backup open as the live file, as far as one can."""
        target = self._path + self._codec.extension
        if self._is_at(self._files.names.log):
            raise GoneError
        self._refuse_in_hand(page)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something stands there", target)
        self._length = final_length(self._system, page, self._fd)
        entry = page.entry(self._status)
        if entry is not None and entry.until == GONE:  # said of a file that had this number before
            page.clear(self._status)
        if page.head().mode == ATOMIC:
            # Not only a rotation may have given it this name: an operator's `mv` moves no epoch.
            page.move_epoch()
            self._leases_end = time.monotonic() + GRACE

    def _refuse_in_hand(self, page: Page) -> None:
        if page.in_hand() == identity_of(self._status):
            raise GoneError

    def _seal(self, page: Page) -> int:
        self._check(self._fd, self._status)
        return seal(self._system, page, self._fd, self._read)

    def _publish(self, draft: Draft, length: int, page: Page) -> None:
        """Give the draft the name of the backup, and take it from the plain file."""
        target = self._path + self._codec.extension
        if not self._files.lock.is_at_its_path():
            raise OSError(errno.ENOLCK, "the lock file has been replaced meanwhile", self._files.names.lock)
        self._refuse_in_hand(page)
        if final_length(self._system, page, self._fd) != length:
            raise OSError(errno.ESTALE, "the page has been replaced meanwhile", self._files.names.state)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something stands there", target)
        self._announce(draft, page)
        if self._system.link(draft.path, target):
            with contextlib.suppress(OSError):  # `discard` will try it again
                self._system.unlink(draft.path)
        else:
            self._system.rename(draft.path, target)
        self._step("publish")
        dropped = self._files.drafts.new_path(os.path.dirname(self._path))
        try:
            drop(self._system, page, self._status, self._path, dropped, length)
        except OSError:  # in a directory where everybody may only delete what is theirs
            self._system.unlink(target)
            raise
        self._dropped = dropped
        self._step("drop")

    def _announce(self, draft: Draft, page: Page) -> None:
        """Let the compressed file be handed on in the place of the plain one.

        Before it is published: whoever finds both, after the death of this process, takes the plain one off.
        """
        waiting = [inode for inode in page.waiting() if inode != draft.status.st_ino]
        if self._status.st_ino in waiting:
            waiting.insert(waiting.index(self._status.st_ino), draft.status.st_ino)
            page.set_waiting(waiting)

    def _leave_sealed(self, page: Page) -> None:
        """After a failure: nothing is to be found behind the length that the backup was sealed with.

        A writer that came too late has written that again, elsewhere.
        """
        status = self._system.status_of(self._fd)
        if self._length is None or identity_of(status) != identity_of(self._status):
            return
        if not status.st_nlink:
            page.seal(status, self._length, until=GONE)
        elif status.st_size > self._length and self._is_at(self._path):
            fd = self._system.open_shared(self._path, writable=True)
            try:
                self._system.set_length(fd, self._length)
            finally:
                self._system.close(fd)

    def _clear(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # swept by a peer
            self._system.unlink(self._dropped)
        self._step("clear")

    # ---- two files of one backup

    def _settle(self, backup: Standing) -> bool:
        """Make one file of two; return False if the plain one is the one to go on with."""
        extensions = [other.path[len(self._first_path) :] for other in backup.files[1:]]
        if self._locked(functools.partial(self._drop_if_published, extensions)):
            self._clear()
            return True
        for other, extension in zip(backup.files[1:], extensions):
            self._compare(other, extension)
        for other, extension in zip(backup.files[1:], extensions):
            self._locked(functools.partial(self._delete_other, other, extension))
        return False

    def _drop_if_published(self, extensions: List[str], page: Page) -> bool:
        self._refuse_in_hand(page)
        dropped = self._files.drafts.new_path(os.path.dirname(self._path))
        others = [self._path + extension for extension in extensions]
        try:
            is_dropped = drop_if_published(self._system, page, self._path, others, dropped)
        except FileNotFoundError:  # it was one of them that has gone
            raise GoneError from None
        self._dropped = dropped if is_dropped else ""
        return is_dropped

    def _compare(self, other: File, extension: str) -> None:
        """Raise `OSError` unless a compressed file holds what the plain one does, or the beginning of it."""
        fd = self._open(other.path)
        if identity_of(self._system.status_of(fd)) != identity_of(other.status):
            self._system.close(fd)
            raise GoneError
        pieces = content_of(os.fdopen(fd, "rb"), extension)
        if pieces is None or not self._begins_with(pieces):
            reason = "holds something else than the file beside it, and so is not replaced"
            raise OSError(errno.EEXIST, reason, other.path)

    def _begins_with(self, pieces: Iterable[bytes]) -> bool:
        """Tell whether the backup begins with what a compressed file holds, so far as that can be read."""
        position = 0
        try:
            for piece in pieces:
                self._advance()
                if self._system.read_at(self._fd, len(piece), position) != piece:
                    return False
                position += len(piece)
        except EOFError:  # cut short, as by the death of who wrote it
            return True
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return False  # each codec has an exception of its own for a damaged file
        return True

    def _delete_other(self, other: File, extension: str, _: Page) -> None:
        """Delete a compressed file that is to be made anew; a rotation may have renamed the two."""
        status = existing(self._system, self._path + extension)
        if status is not None and identity_of(status) == identity_of(other.status):
            self._system.unlink(self._path + extension)

    # ---- reading and writing

    def _open(self, path: str) -> int:
        """Open the file at a path, or the backup wherever it is by now."""
        for _ in range(LOOKS):
            with contextlib.suppress(FileNotFoundError):
                fd = self._system.open_shared(path, writable=False)
                if path != self._path or self._is_as_it_was(self._system.status_of_new(fd)):
                    return fd
                self._system.close(fd)
            if path != self._path:
                break
            path = self._path = self._first_path = self._find()
        raise GoneError

    def _is_as_it_was(self, status: os.stat_result) -> bool:
        """Tell whether a file is the one that was looked at. Until that is open, another one can get its number."""
        was = self._status
        return identity_of(status) == identity_of(was) and status.st_mtime_ns == was.st_mtime_ns

    def _check(self, fd: int, status: os.stat_result) -> None:
        """Raise `OSError` if a descriptor leads to something else by now, `GoneError` in a forked child.

        Greenlets are there in the child, unlike threads, and go on with what they are at.
        """
        if self._is_abandoned:
            raise GoneError
        if identity_of(self._system.status_of(fd)) != identity_of(status):
            raise OSError(errno.EBADF, "a descriptor was closed by its number meanwhile", self._path)

    def _target(self, draft: Draft) -> Target:
        return Target(
            path=draft.path,
            fd=draft.fd,
            write=functools.partial(self._append, draft),
            divert=functools.partial(self._system.divert, draft.status),
            name=os.fsencode(os.path.basename(self._path)),
            modified=self._status.st_mtime,
        )

    def _append(self, draft: Draft, data: bytes) -> None:
        """Append to the draft, all of it."""
        self._check(draft.fd, draft.status)
        while data:
            data = data[self._system.write(draft.fd, data) :]

    def _copy(self, packer: Packer, end: Optional[int]) -> None:
        """Compress up to a position, or as far as the file goes."""
        while end is None or self._read < end:
            size = READ_AT_ONCE if end is None else min(READ_AT_ONCE, end - self._read)
            self._check(self._fd, self._status)
            data = self._system.read_at(self._fd, size, self._read)
            if not data:
                break
            self._check_space(len(data))
            packer.write(data)
            self._read += len(data)
            self._advance()

    def _check_space(self, size: int) -> None:
        """Raise `OSError` if what is compressed could take the space that the log itself needs next."""
        reserve = min(self._files.settings.max_bytes or LARGEST_RESERVE, LARGEST_RESERVE)
        directory = os.path.dirname(self._path)
        if self._system.free_bytes(directory) < reserve + size:
            raise OSError(errno.ENOSPC, "too little space is left", directory)

    def _complete(self, draft: Draft, length: int) -> None:
        """See that the compressed file is whole, and make it ready to be seen."""
        if self._read != length:
            raise OSError(errno.ESTALE, "has been cut meanwhile", self._path)
        self._check(self._fd, self._status)
        self._check(draft.fd, draft.status)
        status = existing(self._system, draft.path)
        if status is None or identity_of(status) != identity_of(draft.status):
            raise OSError(errno.EIO, "the codec has replaced the file that it was given", draft.path)
        if length and not status.st_size:
            raise OSError(errno.EIO, "the codec has written nothing", draft.path)
        self._files.drafts.dress(draft, self._system.status_of(self._fd), self._status.st_atime_ns)
        self._system.sync(draft.fd)

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
