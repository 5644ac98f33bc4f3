"""The codecs: what an old file is compressed by, and under which extension.

    None        not at all
    "gzip"      .gz    zlib; where the package isal is installed, that (several times as fast)
    "bz2"       .bz2   the standard library
    "xz"        .xz    the standard library
    "zstd"      .zst   the standard library from Python 3.14 on, else the package zstandard
    "lz4"       .lz4   the package lz4
    a mapping   {"command": ["zstd", "-q", "-c"], "extension": ".zst"}, see `commands.py`
    an object   with `extension` and `open(path)`, which returns a binary file to write to

The codecs of this house turn bytes into bytes, and leave the writing to the caller. An object that
writes by itself, as `gzip.GzipFile` does, also writes when it is collected: in a forked child as
well, through the descriptor that the child shares.

All of them work through a file of any size in constant memory. Their default levels take less than
30 MB for it, which is why that of xz is 2 (17 MiB; 6, its own default, takes 94: xz(1)).

No codec is imported before somebody has asked for it.
"""

import abc
import contextlib
import errno
import importlib
import io
import re
import struct
import sys
from typing import Any, BinaryIO, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple, Union

from concurrent_log_handler.packing import Command, Packer, Target
from concurrent_log_handler.settings import is_number, require

EXTENSION = re.compile(r"\.[A-Za-z0-9_+-]*[A-Za-z_+-][A-Za-z0-9_+-]*")  # `.1` would read as a counter
READ_AT_ONCE = (
    1 << 20
)  # each piece has to wait for the interpreter's lock, 5 ms each time if another thread computes
TIME_LIMIT = 60.0

# A gzip header (RFC 1952): deflate, with a name; XFL tells of the level, and 3 is Unix.
GZIP_HEADER = struct.Struct("<2sBBIBB")
GZIP_TRAILER = struct.Struct("<II")
GZIP_MAGIC, DEFLATE, HAS_NAME, UNIX = b"\x1f\x8b", 8, 8, 3
BEST, FASTEST = 2, 4
RAW_DEFLATE = -15
FASTEST_LEVEL, BEST_LEVEL = 1, 9
LEVELS_OF_ISAL = (1, 2, 3)
MODULO = 2**32

Compression = Union[str, Mapping[str, Any], Any, None]
Stream = Any  # an object with compress(bytes) -> bytes and flush() -> bytes


class Codec(abc.ABC):
    """A way to compress a file."""

    extension = ""
    may_hang = False

    @abc.abstractmethod
    def pack(self, target: Target) -> Packer:
        """Begin a compressed file; raise whatever the codec raises."""


class StreamPacker(Packer):
    """Writes what a stream makes of the bytes."""

    def __init__(self, target: Target, stream: Stream, head: bytes = b"") -> None:
        self._write_out = target.write
        self._stream = stream
        self._head = head

    def write(self, data: bytes) -> None:
        """Compress some bytes."""
        head, self._head = self._head, b""
        self._put(head + self._stream.compress(data))

    def finish(self) -> None:
        """Complete the compressed file."""
        self._put(self._head + self._stream.flush())

    def abandon(self) -> None:
        """Do nothing: a stream has no file of its own."""

    def give_up(self) -> None:
        """Do nothing, for the same reason."""

    def _put(self, data: bytes) -> None:
        if data:
            self._write_out(data)


class GzipStream:
    """Makes the bytes of a gzip file with a name and a time, by a module that is made like zlib."""

    def __init__(self, zlib: Any, level: int, target: Target) -> None:
        self._zlib = zlib
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, RAW_DEFLATE)
        self._checksum = zlib.crc32(b"")
        self._length = 0
        flags = BEST if level == BEST_LEVEL else FASTEST if level == FASTEST_LEVEL else 0
        modified = max(int(target.modified), 0) % MODULO
        header = GZIP_HEADER.pack(GZIP_MAGIC, DEFLATE, HAS_NAME, modified, flags, UNIX)
        self.head = header + target.name.replace(b"\0", b"") + b"\0"

    def compress(self, data: bytes) -> bytes:
        """Compress some bytes."""
        self._checksum = self._zlib.crc32(data, self._checksum)
        self._length += len(data)
        compressed: bytes = self._deflate.compress(data)
        return compressed

    def flush(self) -> bytes:
        """Return the rest, and the trailer."""
        rest: bytes = self._deflate.flush()
        return rest + GZIP_TRAILER.pack(self._checksum, self._length % MODULO)


class Gzip(Codec):
    """Compresses to `.gz`."""

    extension = ".gz"

    def __init__(self, level: Optional[int]) -> None:
        self._zlib, self._level = _zlib_for(level)

    def pack(self, target: Target) -> Packer:
        """Begin a gzip file."""
        stream = GzipStream(self._zlib, self._level, target)
        return StreamPacker(target, stream, stream.head)


class StreamCodec(Codec):
    """Compresses by a stream that a function makes."""

    def __init__(self, extension: str, make: Callable[[], Stream]) -> None:
        self.extension = extension
        self._make = make

    def pack(self, target: Target) -> Packer:
        """Begin a compressed file."""
        return StreamPacker(target, self._make())


class CommandCodec(Codec):
    """Compresses by a program that reads its standard input and writes its standard output."""

    def __init__(self, command: Command, extension: str) -> None:
        self.extension = extension
        self._command = command

    def pack(self, target: Target) -> Packer:
        """Start the program."""
        if sys.platform != "win32":
            from concurrent_log_handler.commands import CommandPacker  # noqa: PLC0415 - heavy, and asked for rarely

            return CommandPacker(self._command, target)
        raise NotImplementedError("compression by a command does not work on Windows yet")


class ObjectCodec(Codec):
    """Compresses by an object of the user's."""

    may_hang = True

    def __init__(self, given: Any) -> None:
        self.extension = given.extension
        self._given = given

    def pack(self, target: Target) -> Packer:
        """Open a file by the user's `open`."""
        return ObjectPacker(self._given.open(target.path), target)


class ObjectPacker(Packer):
    """Writes to a file of the user's making."""

    def __init__(self, file: Any, target: Target) -> None:
        self._file = file
        self._target = target

    def write(self, data: bytes) -> None:
        """Hand over some bytes."""
        written = self._file.write(data)
        while isinstance(self._file, io.RawIOBase) and 0 < (written or 0) < len(data):
            data = data[written:]
            written = self._file.write(data)
        if isinstance(written, int) and written < len(data):
            # Rather none than half a file; some libraries, though, return how much they have made of it.
            raise OSError(errno.EIO, f"took {written} of {len(data)} bytes")

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """In a forked child: let what the file writes when it is collected go nowhere."""
        self._target.divert()

    def give_up(self) -> None:
        """Close the file, whatever it says to that."""
        with contextlib.suppress(Exception):
            self._file.close()


def codec_of(use_gzip: object, compression: Compression, level: Optional[int]) -> Optional[Codec]:
    """Return the codec that these arguments ask for; None compresses nothing.

    Raises `ValueError` for what is not allowed, and for a codec that is not installed.
    """
    if use_gzip and compression is not None:
        require("compression", compression, compression == "gzip", "None or 'gzip' with use_gzip=True")
    if use_gzip:
        compression = "gzip"
    if isinstance(compression, str):
        require("compression", compression, compression in CODECS, _allowed())
        make, allowed, default = CODECS[compression]
        whole = level is None or (isinstance(level, int) and not isinstance(level, bool))
        span = f"None, or {allowed[0]} to {allowed[-1]} for compression={compression!r}"
        require("compression_level", level, whole and (level is None or level in allowed), span)
        return make(default if level is None else level)
    require("compression_level", level, level is None, "None for this compression")
    if compression is None:
        return None
    if isinstance(compression, Mapping):
        return _command_of(compression)
    is_codec = callable(getattr(compression, "open", None)) and hasattr(compression, "extension")
    require("compression", compression, is_codec, _allowed())
    _require_extension(compression, compression.extension)
    return ObjectCodec(compression)


def content_of(file: BinaryIO, extension: str) -> Optional[Iterator[bytes]]:
    """Return the content of a compressed file in pieces, or None if nothing here can read that kind; close it.

    The pieces end with an exception (`EOFError`, `OSError`, or one of the codec's) if the file is damaged.
    """
    module = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}.get(extension)
    if module is None:
        file.close()
        return None
    return _pieces(importlib.import_module(module), file)


def _pieces(module: Any, file: BinaryIO) -> Iterator[bytes]:
    with file, module.open(file, "rb") as content:
        # read() would raise at the end of a file that is cut short, and keep what it has read.
        yield from iter(lambda: content.read1(READ_AT_ONCE), b"")


def _command_of(given: Mapping[str, Any]) -> Codec:
    words = given.get("command")
    is_list = isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
    known = {"command", "extension"} <= set(given) <= {"command", "extension", "timeout"}
    require("compression", given, bool(known and is_list and words), _allowed())
    _require_extension(given, given["extension"])
    limit = given.get("timeout", TIME_LIMIT)
    require("compression", given, is_number(limit) and limit > 0, "given a 'timeout' of more than 0 seconds")
    return CommandCodec(Command(tuple(words or ()), float(limit)), given["extension"])


def _require_extension(given: object, extension: object) -> None:
    fits = isinstance(extension, str) and EXTENSION.fullmatch(extension) is not None
    require("compression", given, fits and extension != ".tmp", "given an 'extension' such as '.zst'")


def _allowed() -> str:
    names = ", ".join(map(repr, CODECS))
    return f"None, {names}, a mapping with 'command' (a list) and 'extension', or an object with extension and open"


def _zlib_for(level: Optional[int]) -> Tuple[Any, int]:
    """Return the module to compress by, and its level; isal's levels end at 3."""
    if level is None or level in LEVELS_OF_ISAL:
        try:
            return importlib.import_module("isal.isal_zlib"), level or 2
        except ImportError:
            pass
    return _standard("zlib", "gzip"), 6 if level is None else level


def _standard(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"compression={name!r} is not allowed: this Python has been built without it"
        ) from None


def _bz2(level: Optional[int]) -> Codec:
    bz2 = _standard("bz2", "bz2")
    return StreamCodec(".bz2", lambda: bz2.BZ2Compressor(level))


def _xz(level: Optional[int]) -> Codec:
    lzma = _standard("lzma", "xz")
    return StreamCodec(".xz", lambda: lzma.LZMACompressor(preset=level))


def _zstd(level: Optional[int]) -> Codec:
    try:
        standard = importlib.import_module("compression.zstd")
    except ImportError:
        package = _installed("zstandard", "zstd")
        return StreamCodec(".zst", lambda: package.ZstdCompressor(level=level).compressobj())
    return StreamCodec(".zst", lambda: standard.ZstdCompressor(level=level))


def _lz4(level: Optional[int]) -> Codec:
    package = _installed("lz4.frame", "lz4")
    return StreamCodec(".lz4", lambda: Lz4Stream(package, level))


class Lz4Stream:
    """Makes the bytes of an lz4 frame."""

    def __init__(self, package: Any, level: Optional[int]) -> None:
        self._frame = package.LZ4FrameCompressor(compression_level=level, content_checksum=True)
        self._head: bytes = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        """Compress some bytes."""
        head, self._head = self._head, b""
        compressed: bytes = self._frame.compress(data)
        return head + compressed

    def flush(self) -> bytes:
        """Return the rest."""
        rest: bytes = self._frame.flush()
        return self._head + rest


def _installed(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ValueError(
            f"compression={extra!r} is not allowed: it needs a package that is not installed; "
            f"pip install concurrent-log-handler[{extra}]"
        ) from None


class Kind(NamedTuple):
    """A codec by its name: how to make it, its levels, and the one that is taken by default."""

    make: Callable[[Optional[int]], Codec]
    levels: range
    default: Optional[int]


CODECS: Dict[str, Kind] = {
    "gzip": Kind(Gzip, range(10), None),
    "bz2": Kind(_bz2, range(1, 10), 9),
    "xz": Kind(_xz, range(10), 2),
    "zstd": Kind(_zstd, range(1, 23), 3),
    "lz4": Kind(_lz4, range(17), 0),
}
