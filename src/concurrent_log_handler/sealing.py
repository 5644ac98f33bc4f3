"""Sealing: before a file is consumed, the page says how much of it is kept.

A writer may still have a file open that is deleted or compressed, and write to it. So what is to be
consumed has lost the name of the log before; then the epoch moves, and the leases from before that
run out: from here on, who writes to this file looks again, finds that names have been changed, and
asks what became of the file (`kept.py`). Then it is sealed, under the lock, in this order:

1. the ring says that its length is unknown (`PENDING`): who asks now, waits;
2. the length is read: all that has been written before is kept, and nothing that comes after it. (Not
   in the middle of a write, during which the length grows page by page: `System.settled_length`);
3. the ring says so. **This length is final.**

Why a record is then either among the kept bytes or written again, and never both. A writer wrote
before 2, or after it. If before, then its end is within the length, and whatever it finds says kept:
no entry and a name (it asked before 1), or the length (after 3). If after, it asks after that, hence
after 1: it finds the entry, waits for the length, and ends beyond it. Were 1 missing, a writer that
writes and asks between 2 and 3 would find no entry and a name, believe that its record is kept, and
lose it. Only a writer that loses patience while a sealer is frozen, or has died, between 1 and 3 may
write a record twice: the one case, written down in the documentation.

A compressor can die after 3. Whoever comes next takes the same length, as writers have gone by it;
bytes behind it have been written again elsewhere. The ring has a few dozen slots, pages can be
deleted, and a writer may be frozen for longer than those last. So before 3 the length is also attached
to the file itself as a *note* (an extended attribute), where the last descriptor keeps it. With it
stands whose length it is: a copy of the file, which an operator puts in the place of another one, has
another number. And as numbers are used again, an entry in the ring is taken for that of this file only
if the file has a note as well, or can have none.

A deletion seals with length 0, without a note. When the file has lost its last name, the entry says
`GONE`.
"""

import contextlib
import errno
import os
from typing import List, Optional

from concurrent_log_handler.state import FOREVER, GONE, PENDING, Page, identity_of
from concurrent_log_handler.system import System


def delete(system: System, page: Optional[Page], path: str, *, leases_are_over: bool = False) -> None:
    """Delete a file that is not live, the lock held.

    Args:
        system: the system calls.
        page: the page, None where there is none.
        path: the path of the file.
        leases_are_over: whether the caller has waited for them.

    Raises `FileNotFoundError` if there is none, `OSError` if it cannot be deleted.

    """
    status = system.status(path)
    if page is None:
        system.unlink(path)
        return
    if not leases_are_over:
        page.wait_for_leases()
    before = page.entry(status)
    page.seal(status, 0)
    try:
        system.unlink(path)
    except OSError:
        if before is None:
            page.clear(status)
        else:
            page.seal(status, *before)
        raise
    page.seal(status, 0, until=GONE)


def final_length(system: System, page: Page, fd: int) -> Optional[int]:
    """Return the length that an open file has been sealed with, None if it has not been."""
    status = system.status_of(fd)
    noted = noted_length(system, fd, status)
    if noted is not None:
        return noted
    entry = page.entry(status)
    if entry is None or entry.until != FOREVER or entry.length == PENDING:
        return None
    return None if system.put_note(fd, b"") else entry.length


def is_condemned(system: System, page: Page, fd: int) -> bool:
    """Tell whether somebody has died who was about to delete an open file, and had sealed it for that.

    Writers have gone by it and written again what they had just written there, so it must not come back.
    """
    status = system.status_of(fd)
    entry = page.entry(status)
    sealed_as_empty = entry is not None and entry.until == FOREVER and entry.length == 0
    return sealed_as_empty and status.st_size > 0 and noted_length(system, fd, status) != 0


def noted_length(system: System, fd: int, status: os.stat_result) -> Optional[int]:
    """Return the length that is attached to an open file, None if there is none."""
    note = system.note_of(fd).split(b":")
    device, inode = identity_of(status)
    if note[:-1] == [b"%d" % device, b"%d" % inode] and note[-1].isdigit():
        return int(note[-1])
    return None


def seal(system: System, page: Page, fd: int, at_least: int) -> int:
    """Say how much of an open file is kept, the lock held; return that.

    Since the file has lost the name of the log the epoch has been moved, and leases have run out.

    Args:
        system: the system calls.
        page: the page.
        fd: the file.
        at_least: how much of it has been read.

    Raises `OSError`, and seals nothing, if the file has become shorter than that.

    """
    status = system.status_of(fd)
    length = final_length(system, page, fd)
    if min(status.st_size, status.st_size if length is None else length) < at_least:
        raise OSError(errno.ESTALE, f"has been cut to {status.st_size} bytes meanwhile")
    if length is None:
        page.seal(status, PENDING)
        length = system.settled_length(fd)
    system.put_note(fd, b"%d:%d:%d" % (*identity_of(status), length))
    page.seal(status, length)
    return length


def unseal_live(system: System, page: Page, fd: int, path: str) -> None:
    """Forget what was said of a file that somebody has made the live one again; the lock is held."""
    page.clear(system.status_of(fd))
    system.drop_note(path)


def drop(system: System, page: Page, file: os.stat_result, path: str, dropped: str, length: int) -> None:
    """Take its name from a sealed file of which there is a compressed one; the lock is held.

    Args:
        system: the system calls.
        page: the page.
        file: what is known to stand at the path.
        path: the name that it loses.
        dropped: the name, of a draft, that it gets: to delete a large file takes long.
        length: what it was sealed with.

    Raises `OSError`, with everything as before, if that cannot be done.

    """
    system.rename(path, dropped)
    try:
        is_another = identity_of(system.status(dropped)) != identity_of(file)
    except OSError:  # there is no way back from here, but if another file is found
        is_another = False
    if is_another:  # somebody has exchanged the lock file
        system.rename(dropped, path)
        raise OSError(errno.ESTALE, "has been replaced meanwhile", path)
    with contextlib.suppress(OSError):  # it is not in the ring for long anyway, and has lost its name
        page.seal(file, length, until=GONE)
        page.set_waiting([inode for inode in page.waiting() if inode != file.st_ino])


def drop_if_published(system: System, page: Page, path: str, others: List[str], dropped: str) -> bool:
    """Take its name from a plain file if one of the others was made of it, by a process that died then.

    What is sealed had no compressed file beside it. So one of the very same time is its own, and whole.
    The lock is held.
    """
    fd = system.open_shared(path, writable=False)
    try:
        file, length = system.status_of(fd), final_length(system, page, fd)
        times = [system.status(each).st_mtime_ns for each in others]
        if length is None or file.st_mtime_ns not in times:
            return False
        drop(system, page, file, path, dropped, length)
    finally:
        system.close(fd)
    return True
