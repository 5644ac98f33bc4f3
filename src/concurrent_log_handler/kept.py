"""Whether a record is kept that was written while the names of the files may have been changed.

The file that it went to may have been renamed meanwhile, which is no harm, or deleted, cut or
compressed, which is. Whoever does such a thing *seals* the file first: it says in the ring of the
page how much of it is kept (`state.py`). So these are asked, in this order:

1. the ring: if the file is there, the record is kept if it ends before that length;
2. whether the file still has a name: then the record is kept;
3. the ring once more, as the file may have been sealed, and unlinked, between 1 and 2;

and a file with no name and no seal is gone. Where the ring says nothing, it may have forgotten the file;
then a length that is attached to the file itself counts (`sealing.py`). (A seal is not of the file that stands at the path of
the log: it is of one that had the same inode number before, and this one was made by somebody else.) The order of the questions, and that the ring is
written before the file is consumed, is what makes it right. Asking for the name first would lose a
record in a file that is sealed after the answer.

While a sealing is under way, its length is unknown (`PENDING`). It is waited for; if that takes too
long (its process is frozen), the record counts as not kept. It may be there twice then: the one
case of a double, written down in the documentation.
"""

import os
import time
from typing import Iterable, Optional

from concurrent_log_handler.filesystem import real_directory
from concurrent_log_handler.sealing import noted_length
from concurrent_log_handler.state import FOREVER, PENDING, Entry, Page
from concurrent_log_handler.system import System, asked_twice
from concurrent_log_handler.view import View

SHORTEST_PAUSE = 0.00002  # a seal takes two system calls
LONGEST_PAUSE = 0.001


def is_stable(view: View) -> bool:
    """Tell whether no names have been changed since a view was opened."""
    try:
        return view.page is not None and view.page.is_at(view.epoch)
    except OSError:  # the page was closed by its number
        return False


def is_kept(
    system: System,
    view: View,
    pages: Iterable[Optional[Page]],
    end: int,
    path: str,
    patience: float,
) -> bool:
    """Tell whether a record is kept.

    Args:
        system: the system calls.
        view: what it was written to.
        pages: the pages that may know of that file.
        end: where the record ends in the file.
        path: the path of the log.
        patience: how long to wait for a length that is pending, in seconds.

    """
    deadline = time.monotonic() + patience
    pause = SHORTEST_PAUSE
    while True:
        entry = _first_seal(pages, view)
        has_name = entry is None and bool(asked_twice(system.status_of, view.fd).st_nlink)
        if entry is None and not has_name:
            entry = _first_seal(pages, view)
        if entry is None:
            length = noted_length(system, view.fd, view.status)
            if length is None or (has_name and _stands_at(system, path, view)):
                return has_name
            return end <= length
        if entry.until >= FOREVER and _stands_at(system, path, view):
            return True
        if entry.length != PENDING:
            return end <= entry.length
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def is_there(system: System, path: str, page: Optional[Page], view: View) -> bool:
    """Tell whether a file has a name, and is not sealed, whose descriptor was closed by its number after the write.

    Where in it the record ends cannot be known any more; in a sealed one, it counts as not kept.
    """
    named = system.names_of_inode(real_directory(path), view.inode)
    return bool(named) and (page is None or sealed(page, view) is None)


def sealed(page: Page, view: View) -> Optional[Entry]:
    """Return what a page says of a view's file, for those who opened it when the view was opened."""
    try:
        entry = page.entry(view.status)
    except OSError:  # the page was closed by its number; the link count is left
        return None
    return entry if entry is not None and view.epoch < entry.until else None


def is_sealed(system: System, page: Page, view: View) -> bool:
    """Tell whether a file is sealed, as far as the ring or the file itself says so."""
    return sealed(page, view) is not None or noted_length(system, view.fd, view.status) is not None


def _first_seal(pages: Iterable[Optional[Page]], view: View) -> Optional[Entry]:
    for page in pages:
        entry = None if page is None else sealed(page, view)
        if entry is not None:
            return entry
    return None


def _stands_at(system: System, path: str, view: View) -> bool:
    try:
        return os.path.samestat(system.status(path), view.status)
    except OSError:
        return False
