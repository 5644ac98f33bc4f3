"""Sealing: before a file is consumed, the page says how much of it is kept.

A writer may still have a file open that is deleted, and write to it. So what is deleted has lost the
name of the log before, then the leases from that time run out, and then it is sealed with length 0:
a record that comes too late is found not to be kept, and written again, into another file. The order
matters; `kept.py` and `state.py` tell why.
"""

from typing import Optional

from concurrent_log_handler.state import Page
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
