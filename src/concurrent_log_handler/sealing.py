"""Sealing: before a file is consumed, the page says how much of it is kept.

A writer may still have a file open that is deleted or compressed, and write to it. So what is to be
consumed has lost the name of the log before; then the epoch moves, and the leases from before that
run out: from here on, who writes to this file looks again, finds that names have been changed, and
asks what became of the file (`kept.py`). Then it is sealed, under the lock, in this order:

1. the ring says that its length is unknown (`PENDING`): who asks now, waits;
2. the length is read: all that has been written before is kept, and nothing that comes after it;
3. the ring says so. **This length is final.**

Why a record is then either among the kept bytes or written again, and never both. A writer wrote
before 2, or after it. If before, then its end is within the length, and whatever it finds says kept:
no entry and a name (it asked before 1), or the length (after 3). If after, it asks after that, hence
after 1: it finds the entry, waits for the length, and ends beyond it. Were 1 missing, a writer that
writes and asks between 2 and 3 would find no entry and a name, believe that its record is kept, and
lose it. Only a writer that loses patience while a sealer is frozen between 1 and 3 may write a record
twice: the one case, written down in the documentation.

A compressor can die after 3. Whoever comes next takes the same length, as writers have gone by it;
bytes behind it have been written again elsewhere. The ring has a few dozen slots, and a writer may be
frozen for longer than those last. So the length is also attached to the file itself (an extended
attribute, where there are such), where the last descriptor keeps it. With it stands whose length it
is: a copy of the file, which an operator puts in the place of another one, has another number.

A deletion seals with length 0. When the file has lost its last name, the entry says `GONE`: numbers
of files are used again, and a final length is that of this file only.
"""

import errno
import os
from typing import Optional

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
    page.seal(status, 0)
    try:
        system.unlink(path)
    except OSError:
        page.clear(status)
        raise
    page.seal(status, 0, until=GONE)


def final_length(system: System, page: Page, fd: int) -> Optional[int]:
    """Return the length that an open file has been sealed with, None if it has not been."""
    status = system.status_of(fd)
    entry = page.entry(status)
    if entry is not None and entry.until == FOREVER and entry.length != PENDING:
        return entry.length
    return noted_length(system, fd, status)


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
        length = system.status_of(fd).st_size
    page.seal(status, length)
    system.put_note(fd, b"%d:%d:%d" % (*identity_of(status), length))
    return length
