"""The grammar of names: what the files beside a log are called, and which names are ours.

For `logs/app.log` (`.log` at the end is left out of the helpers' names, as in 0.9.x):

    logs/app.log                           the live file
    logs/app.log.1, .2, …                  its backups, the youngest first
    logs/.__app.lock                       the lock file
    logs/.__app.state                      the page
    logs/.__app.<16 hex digits>.tmp        a draft: a file in the making
    logs/.__app.ffffffffffffffff.tmp       what is to be deleted, where no backups are kept

What does not read back exactly as it would be written is not ours, and is never touched. Nothing
here asks the disk.
"""

import os.path
import re
from typing import NamedTuple, Optional

TOKEN_BYTES = 8
TOKEN = re.compile(rf"[0-9a-f]{{{2 * TOKEN_BYTES}}}")
LONGEST_NAME = 255  # bytes, on nearly every file system
DISCARDED = "f" * 2 * TOKEN_BYTES
NUMBER = re.compile(r"[1-9][0-9]*")


class Names(NamedTuple):
    """The paths of one log."""

    log: str
    lock: str
    state: str

    @property
    def directory(self) -> str:
        """Where the live file and its backups are."""
        return os.path.dirname(self.log)

    @property
    def helper_directory(self) -> str:
        """Where the lock file and the page are."""
        return os.path.dirname(self.lock)

    def draft(self, directory: str, token: str) -> str:
        """Return the path of a draft in one of the two directories."""
        return os.path.join(directory, f"{draft_stem(self.log)}.{token}.tmp")

    def discarded(self, directory: str) -> str:
        """Return the path of a live file that has been set aside to be deleted."""
        return self.draft(directory, DISCARDED)

    def is_draft(self, name: str) -> bool:
        """Tell whether a name in one of the two directories is that of a draft of this log."""
        prefix, suffix = draft_stem(self.log) + ".", ".tmp"
        token = name[len(prefix) : -len(suffix)]
        written = name == prefix + token + suffix
        return written and token != DISCARDED and TOKEN.fullmatch(token) is not None


def names_of(log: str, helper_directory: Optional[str] = None) -> Names:
    """Return the paths that belong to a log, its helpers in a directory of their own if given."""
    stem = os.path.join(helper_directory or os.path.dirname(log), helper_stem(log))
    return Names(log, stem + ".lock", stem + ".state")


def helper_stem(log: str) -> str:
    """Return what the names of all helpers of a log begin with."""
    name = os.path.basename(log)
    return ".__" + (name[: -len(".log")] if name.endswith(".log") else name)


def draft_stem(log: str) -> str:
    """Return what the names of drafts begin with: all of the stem that leaves room for a token."""
    stem = helper_stem(log)
    while len(stem.encode("utf-8", "surrogatepass")) > LONGEST_NAME - 2 * TOKEN_BYTES - len("..tmp"):
        stem = stem[:-1]
    return stem


def numbered(log: str, number: int) -> str:
    """Return the default path of the backup with this number, 1 being the youngest."""
    return f"{log}.{number}"


def number_of(log: str, path: str) -> Optional[int]:
    """Return the number of a backup named by `numbered`, or None for any other path."""
    if not path.startswith(log + "."):
        return None
    rest = path[len(log) + 1 :]
    return int(rest) if NUMBER.fullmatch(rest) else None
