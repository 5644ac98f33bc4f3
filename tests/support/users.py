"""Another user, as whom a test that is run by root acts for a while."""

import contextlib
import os
from typing import Iterator

import pytest

NOBODY = 65534

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes two users")


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Have no more rights than nobody has, unless there were no special ones anyway."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
