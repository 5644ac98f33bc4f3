"""What the writers of a log should agree on, and how one notices that they do not.

Nothing is lost when two processes have different settings for the same log. But it is rotated at the lower of two
sizes, keeps the smaller of two numbers of backups, and mixes two encodings, and nobody would find out why. So
one process *notes* its settings in the page, and each, when it looks around, compares its own. Who finds a difference
tells it, once: by name, with both values, and whose configuration it is that differs.

A note is good for as long as its process is there, and for `FRESH` seconds after it was last confirmed, which those do
who write to the log with the same settings. After that, or when that process has ended, the next one notes its own, without a
word: a service that was restarted with new settings agrees with itself. What a process itself has noted, it replaces.

Notes are written without the lock; one that is half written fails its checksum, and counts as none.
"""

import os
import struct
import zlib
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Set, Tuple

from concurrent_log_handler.state import NOTE_SIZE, Page
from concurrent_log_handler.system import System

FRESH = 60.0
CONFIRMED_AFTER = FRESH / 3
HEAD = struct.Struct("<IIdH")
CHECKSUM = struct.Struct("<I")
LONGEST_TEXT = NOTE_SIZE - HEAD.size - CHECKSUM.size
NOT_SET = "not set"

Configuration = Mapping[str, object]


class DifferentSettingsError(Exception):
    """Two processes want different things of the same log."""


class Note(NamedTuple):
    """The settings of one process, as it has noted them.

    Args:
        process: its number,
        place: among the processes of which host, and container.
        at: when it was noted or confirmed last, in seconds since 1970.
        text: a line for each setting, `name=value`.

    """

    process: int
    place: int
    at: float
    text: bytes

    def packed(self) -> bytes:
        """Return the bytes of the note."""
        note = HEAD.pack(self.process, self.place, self.at, len(self.text)) + self.text
        return note + CHECKSUM.pack(zlib.crc32(note))

    @classmethod
    def of(cls, data: bytes) -> "Optional[Note]":
        """Return the note that these bytes hold, None if there is none."""
        if len(data) < HEAD.size:
            return None
        process, place, at, length = HEAD.unpack_from(data)
        end = HEAD.size + length
        whole = data[end : end + CHECKSUM.size] == CHECKSUM.pack(zlib.crc32(data[:end]))
        return cls(process, place, at, data[HEAD.size : end]) if whole else None

    def settings(self) -> Dict[str, str]:
        """Return the values by their names."""
        lines = self.text.decode("utf-8", "replace").split("\n")
        return {name: value for name, _, value in (line.partition("=") for line in lines) if name}


def text_of(configuration: Configuration) -> bytes:
    """Return a line for each setting that is set; the last ones are left out where there is no room for them."""
    text = b""
    for name, value in configuration.items():
        line = "{}={}".format(name, str(value).replace("\n", " ")).encode("utf-8", "replace")
        if value is not None and len(text) + 1 + len(line) <= LONGEST_TEXT:
            text += b"\n" + line
    return text[1:]


class Agreement:
    """Compares the settings of this process with those that are noted."""

    def __init__(
        self,
        system: System,
        configuration: Callable[[], Configuration],
        now: Callable[[], float],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._system = system
        self._configuration = configuration
        self._now = now
        self._report = report
        self._told: Set[Tuple[str, str]] = set()
        # What was compared last, if both were the same, and when that was noted: so the next look costs a read.
        self._compared: Tuple[bytes, Configuration] = (b"", {})
        self._noted_at = 0.0

    def look(self, page: Page) -> None:
        """Compare, and note what is to be noted; raise `OSError` if that cannot be done."""
        noted, configuration, now = page.note(), self._configuration(), self._now()
        if (noted, configuration) == self._compared and abs(now - self._noted_at) <= CONFIRMED_AFTER:
            return
        ours = Note(os.getpid(), self._system.process_space(), now, text_of(configuration))
        theirs = Note.of(noted)
        if theirs is None or self._is_over(theirs, ours):
            if page.writable:
                page.set_note(ours.packed())
        elif theirs.text != ours.text:
            self._tell(theirs, ours)
        else:
            self._compared, self._noted_at = (noted, dict(configuration)), theirs.at

    def _is_over(self, theirs: Note, ours: Note) -> bool:
        """Tell whether a note is to be replaced."""
        age = abs(ours.at - theirs.at)
        if theirs.text == ours.text:
            return age > CONFIRMED_AFTER
        is_here = theirs.place == ours.place
        is_own = is_here and theirs.process == ours.process
        return age > FRESH or is_own or (is_here and not self._system.is_running(theirs.process))

    def _tell(self, theirs: Note, ours: Note) -> None:
        here, there = ours.settings(), theirs.settings()
        whose = f"process {theirs.process}'s configuration"
        if theirs.place != ours.place:
            whose += " (on another host, or in another container)"
        for name in {**here, **there}:
            value, other = here.get(name, NOT_SET), there.get(name, NOT_SET)
            if value != other and (name, other) not in self._told:
                self._told.add((name, other))
                self._report(name, DifferentSettingsError(f"{value} here, {other} in {whose}"))
