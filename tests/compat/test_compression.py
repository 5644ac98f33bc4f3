"""Old files are compressed, by the rules of 0.9.x and by new ones: the whole directory that a log leaves."""

import bz2
import functools
import gzip
import importlib
import logging
import lzma
import os
import shutil
import stat
import subprocess
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterable, List, NamedTuple, Tuple

import pytest

from concurrent_log_handler import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    base,
    compressor,
)
from concurrent_log_handler import upkeep as room
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.compression import content_of
from concurrent_log_handler.naming import COMPRESSED
from support.children import LONG, Children
from support.clock import HOUR, Clock, Jumping
from support.folder import HELPERS, LIVE, Files, contents, dated, plant
from support.records import EVEN, even, line, lines
from support.writers import Scribe, Watched, WatchedHandler, stop_myself

FULL = 4
"""Records in a file that is full."""
MANY = 1_000
BEGIN = time.time() // HOUR * HOUR - 12 * HOUR
HEADER = "# time level message"
NOBODY = 65534

Make = Callable[..., Watched]
Unpack = Callable[[bytes], bytes]


def by_size(live: Path, **options: Any) -> WatchedHandler:
    options.setdefault("maxBytes", FULL * EVEN)
    options.setdefault("backupCount", MANY)
    return WatchedHandler(str(live), **options)


def by_time(live: Path, **options: Any) -> Jumping:
    """Make the timed handler, within one hour unless it is given a clock; most tests rotate it by size."""
    options.setdefault("maxBytes", FULL * EVEN)
    options.setdefault("clock", lambda: BEGIN)
    return Jumping(str(live), when="H", utc=True, **options)


with_both_handlers = pytest.mark.parametrize("make", [by_size, by_time])
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
with_both_upkeeps = pytest.mark.parametrize("upkeep", ["background", "inline"])


# ------------------------------------------------------------------------ codecs


class Own:
    """An object of a user's, which compresses by what the standard library has."""

    extension = ".own"

    def open(self, path: str) -> Any:
        return gzip.open(path, "wb")


COMMAND = {"command": ["gzip", "-c"], "extension": ".by-command"}
COMPRESSIONS: Dict[str, Tuple[Any, str]] = {
    "None": (None, ""),
    "gzip": ("gzip", ".gz"),
    "bz2": ("bz2", ".bz2"),
    "xz": ("xz", ".xz"),
    "zstd": ("zstd", ".zst"),
    "lz4": ("lz4", ".lz4"),
    "command": (COMMAND, ".by-command"),
    "object": (Own(), ".own"),
}
with_each_compression = pytest.mark.parametrize("name", list(COMPRESSIONS))


def zstd_module() -> Any:
    """Return what decompresses zstd here, or skip the test."""
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return pytest.importorskip("zstandard")


def unpack_zstd(data: bytes) -> bytes:
    module = zstd_module()
    unpack = (
        module.decompress
        if module.__name__ == "compression.zstd"
        else module.ZstdDecompressor().decompressobj().decompress
    )
    return bytes(unpack(data))


def lz4_module() -> Any:
    return pytest.importorskip("lz4.frame")


def unpack_lz4(data: bytes) -> bytes:
    return bytes(lz4_module().decompress(data))


UNPACK: Dict[str, Unpack] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": unpack_zstd,
    ".lz4": unpack_lz4,
    ".by-command": gzip.decompress,
    ".own": gzip.decompress,
}


def compression_of(name: str) -> Tuple[Any, str]:
    """Return a codec and its extension, or skip the test where that is not installed."""
    needs = {"zstd": zstd_module, "lz4": lz4_module}
    if name in needs:
        needs[name]()
    return COMPRESSIONS[name]


# ------------------------------------------------------------------------ the directory


def found(live: Path) -> Files:
    """Return all in the folder of a log but the helpers."""
    return {each.name: each.read_bytes() for each in live.parent.iterdir() if each.name not in HELPERS}


def unpacked(live: Path) -> Files:
    """Return the same, what is compressed in plain."""
    return {name: UNPACK.get(Path(name).suffix, bytes)(content) for name, content in found(live).items()}


def backups(make: Make, held: List[bytes], extension: str = ".gz") -> Files:
    """Return backups that hold this, the oldest first, all of the hour in which the log begins."""
    if make is by_size:
        return {f"{LIVE}.{len(held) - rank}{extension}": each for rank, each in enumerate(held)}
    return {dated(BEGIN, counter) + extension: each for counter, each in enumerate(held)}


def full_file(number: int, writer: int = 1) -> bytes:
    """Return what the file that is rotated for this time holds."""
    return lines(even, writer, range((number - 1) * FULL + 1, number * FULL + 1))


def old_name(make: Make, rank: int) -> str:
    """Return the name of an old file, 1 being the youngest."""
    return f"{LIVE}.{rank}" if make is by_size else dated(BEGIN - rank * HOUR)


def log_well(scribe: Scribe, count: int = 1) -> None:
    said = scribe.log(count)
    assert (said.failures, said.reports) == ((), ())


def close_well(handler: Watched) -> None:
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])


def rotate_well(scribe: Scribe) -> bytes:
    """Log a record, rotate, and wait for what comes after that; return what the backup holds."""
    log_well(scribe)
    scribe.handler.doRollover()
    assert scribe.handler.wait_for_upkeep() is True
    assert (scribe.handler.failures, scribe.handler.reports) == ([], [])
    return line(even, scribe.writer, scribe.logged)


@with_both_handlers
@in_both_modes
@with_both_upkeeps
def test_old_files_are_compressed_under_the_names_of_0_9_x(
    live: Path, make: Make, locking: str, upkeep: str
) -> None:
    scribe = Scribe(make(live, use_gzip=True, locking=locking, upkeep=upkeep), 1)
    log_well(scribe, 5 * FULL + 1)
    close_well(scribe.handler)
    held = [full_file(number) for number in range(1, 6)]
    assert unpacked(live) == {LIVE: line(even, 1, 5 * FULL + 1), **backups(make, held)}


@with_both_handlers
@with_both_upkeeps
@with_each_compression
def test_old_files_are_compressed_by_what_is_asked_for(
    live: Path, make: Make, name: str, upkeep: str
) -> None:
    compression, extension = compression_of(name)
    scribe = Scribe(make(live, compression=compression, upkeep=upkeep), 1)
    log_well(scribe, 3 * FULL)
    close_well(scribe.handler)
    held = [full_file(1), full_file(2)]
    assert unpacked(live) == {LIVE: full_file(3), **backups(make, held, extension)}


@with_both_handlers
@pytest.mark.parametrize("level", [0, 9])
def test_they_are_compressed_as_well_as_asked_for(live: Path, make: Make, level: int) -> None:
    scribe = Scribe(make(live, use_gzip=True, compression_level=level, maxBytes=0), 1)
    log_well(scribe, 100)
    scribe.handler.doRollover()
    close_well(scribe.handler)
    [backup] = backups(make, [b""])
    assert (live.with_name(backup).stat().st_size > 100 * EVEN) == (level == 0)
    assert unpacked(live) == {LIVE: b"", backup: lines(even, 1, range(1, 101))}


@in_both_modes
@with_both_upkeeps
def test_dated_files_are_compressed_hour_by_hour(live: Path, locking: str, upkeep: str) -> None:
    clock = Clock()
    scribe = Scribe(by_time(live, clock=clock, use_gzip=True, locking=locking, upkeep=upkeep), 1)
    expected: Files = {}
    for hour in range(3):
        begin, number = clock(), hour * (FULL + 2) + 1
        log_well(scribe, FULL + 2)
        expected[dated(begin) + ".gz"] = lines(even, 1, range(number, number + FULL))
        expected[dated(begin, 1) + ".gz"] = lines(even, 1, range(number + FULL, number + FULL + 2))
        clock.advance(HOUR)
    log_well(scribe)
    close_well(scribe.handler)
    assert unpacked(live) == {**expected, LIVE: line(even, 1, 3 * (FULL + 2) + 1)}


def number_in_the_middle(default: str) -> str:
    """`app.log.1` becomes `app.1.log`."""
    stem, _, rest = default.rpartition("/")[2].partition(".log.")
    return str(Path(default).with_name(f"{stem}.{rest}.log"))


def in_a_folder(default: str) -> str:
    return str(Path(default).parent / "old" / Path(default).name)


@with_both_handlers
@with_both_upkeeps
@pytest.mark.parametrize("namer", [number_in_the_middle, in_a_folder])
def test_a_namer_names_them_without_the_extension(
    live: Path, make: Make, upkeep: str, namer: Callable[[str], str]
) -> None:
    folder = live.parent / "old"
    folder.mkdir()
    handler = make(live, use_gzip=True, upkeep=upkeep, backupCount=2)
    handler.namer = namer
    log_well(Scribe(handler, 1), 3 * FULL + 1)
    close_well(handler)
    ranks = [1, 2] if make is by_size else [2, 1]
    names = [f"{LIVE}.{rank}" if make is by_size else dated(BEGIN) for rank in ranks]
    counters = ["", ""] if make is by_size else [".2", ".1"]
    expected = {
        Path(namer(f"{live.parent}/{name}") + counter + ".gz"): full_file(number)
        for name, counter, number in zip(names, counters, (3, 2))
    }
    files = [each for each in live.parent.rglob("*") if each.is_file() and each.name not in HELPERS]
    assert {each: gzip.decompress(each.read_bytes()) for each in files if each != live} == expected
    assert live.read_bytes() == line(even, 1, 3 * FULL + 1)


@in_both_modes
@pytest.mark.parametrize("suffix", ["%Y%m%d%H.log", "at %H on %d.%m.%Y"])
def test_a_suffix_is_followed_by_the_extension(live: Path, locking: str, suffix: str) -> None:
    handler = by_time(live, use_gzip=True, locking=locking, backupCount=2)
    handler.suffix = suffix
    log_well(Scribe(handler, 1), 3 * FULL + 1)
    close_well(handler)
    first = f"{LIVE}.{time.strftime(suffix, time.gmtime(BEGIN))}"
    assert unpacked(live) == {
        LIVE: line(even, 1, 3 * FULL + 1),
        f"{first}.1.gz": full_file(2),
        f"{first}.2.gz": full_file(3),
    }


@with_both_handlers
@with_both_upkeeps
@with_each_compression
def test_an_empty_log_is_compressed_as_any_other(live: Path, make: Make, name: str, upkeep: str) -> None:
    compression, extension = compression_of(name)
    live.touch()
    handler = make(live, compression=compression, upkeep=upkeep)
    handler.doRollover()
    close_well(handler)
    assert unpacked(live) == {LIVE: b"", **backups(make, [b""], extension)}


@with_both_handlers
@in_both_modes
def test_each_compressed_file_begins_with_the_header(live: Path, make: Make, locking: str) -> None:
    head = HEADER.encode() + b"\n"
    options = {"header": HEADER, "maxBytes": len(head) + FULL * EVEN, "locking": locking}
    scribe = Scribe(make(live, use_gzip=True, **options), 1)
    log_well(scribe, 2 * FULL + 1)
    close_well(scribe.handler)
    held = [head + full_file(1), head + full_file(2)]
    assert unpacked(live) == {LIVE: head + line(even, 1, 2 * FULL + 1), **backups(make, held)}


@with_both_handlers
@in_both_modes
@with_both_upkeeps
def test_use_gzip_may_be_set_later_and_ended(live: Path, make: Make, locking: str, upkeep: str) -> None:
    handler = make(live, locking=locking, upkeep=upkeep)
    scribe = Scribe(handler, 1)
    held = [rotate_well(scribe), rotate_well(scribe)]
    assert (handler.use_gzip, found(live)) == (False, {LIVE: b"", **backups(make, held, "")})
    handler.use_gzip = True
    held.append(rotate_well(scribe))
    assert (handler.use_gzip, unpacked(live)) == (True, {LIVE: b"", **backups(make, held)})
    handler.use_gzip = False
    held.append(rotate_well(scribe))
    close_well(handler)
    expected = backups(make, held)
    plain = f"{LIVE}.1" if make is by_size else dated(BEGIN, 3)
    expected[plain] = expected.pop(plain + ".gz")
    assert (handler.use_gzip, unpacked(live)) == (False, {LIVE: b"", **expected})


def test_use_gzip_may_be_set_by_the_part_that_rotated_by_size(live: Path) -> None:
    handler = by_time(live)
    handler.clh.use_gzip = True
    scribe = Scribe(handler, 1)
    held = [rotate_well(scribe)]
    close_well(handler)
    assert (handler.use_gzip, handler.clh.use_gzip) == (True, True)
    assert unpacked(live) == {LIVE: b"", **backups(by_time, held)}


@pytest.mark.parametrize(
    ("options", "use"),
    [
        ({"use_gzip": True}, True),
        ({"compression": "gzip"}, True),
        ({"compression": "xz"}, False),
        ({"compression": None}, False),
    ],
)
@with_both_handlers
def test_use_gzip_tells_whether_gzip_is_used(
    live: Path, make: Make, options: Dict[str, Any], use: bool
) -> None:
    handler = make(live, **options)
    assert handler.use_gzip is use
    handler.close()


@with_both_handlers
@in_both_modes
def test_without_old_files_to_keep_nothing_is_compressed(live: Path, make: Make, locking: str) -> None:
    """With `backupCount=0` the one handler keeps none; the other one all."""
    scribe = Scribe(make(live, use_gzip=True, backupCount=0, locking=locking), 1)
    log_well(scribe, 2 * FULL + 1)
    close_well(scribe.handler)
    held = [] if make is by_size else [full_file(1), full_file(2)]
    assert unpacked(live) == {LIVE: line(even, 1, 2 * FULL + 1), **backups(make, held)}


# ------------------------------------------------------------------------ programs that read it


@pytest.mark.parametrize("program", ["zcat", "zgrep"])
@with_both_handlers
def test_the_usual_programs_read_a_compressed_file(live: Path, make: Make, program: str) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    scribe = Scribe(make(live, use_gzip=True), 1)
    log_well(scribe, FULL + 1)
    close_well(scribe.handler)
    backup = live.with_name(next(iter(backups(make, [b""]))))
    pattern = ["-F", even(1, 2)] if program == "zgrep" else []
    done = subprocess.run([path, *pattern, str(backup)], stdout=subprocess.PIPE, check=True)
    assert done.stdout == (line(even, 1, 2) if pattern else full_file(1))


@with_both_handlers
def test_a_gzip_file_has_name_and_time_of_what_it_holds(live: Path, make: Make) -> None:
    if shutil.which("gzip") is None:
        pytest.skip("gzip is not installed")
    scribe = Scribe(make(live, use_gzip=True), 1)
    log_well(scribe)
    os.utime(live, ns=(1_600_000_000_987_654_321, 1_600_000_001_123_456_789))
    scribe.handler.doRollover()
    close_well(scribe.handler)
    [backup] = backups(make, [b""])
    folder = live.parent / "elsewhere"
    folder.mkdir()
    (folder / "unnamed.gz").write_bytes(live.with_name(backup).read_bytes())
    subprocess.run([str(shutil.which("gzip")), "-dN", "unnamed.gz"], cwd=str(folder), check=True)
    [restored] = folder.iterdir()
    assert (restored.name, restored.read_bytes()) == (backup[: -len(".gz")], line(even, 1, 1))
    assert restored.stat().st_mtime == 1_600_000_001


# ------------------------------------------------------------------------ owner, permissions, times


class Look(NamedTuple):
    """Owner, permissions and times of a file."""

    user: int
    group: int
    mode: int
    read: int
    written: int


def look_at(path: Path) -> Look:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    return Look(status.st_uid, status.st_gid, mode, status.st_atime_ns, status.st_mtime_ns)


def looks(folder: Path) -> Dict[str, Look]:
    return {each.name: look_at(each) for each in folder.iterdir()}


def drafts(look: Dict[str, Look]) -> List[Tuple[int, int, int]]:
    """Return owner and permissions of what has the name of a file in the making."""
    return [each[:3] for name, each in look.items() if name.endswith(".tmp")]


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o4664])
@pytest.mark.parametrize("owner", [(os.getuid(), os.getgid()), (NOBODY, NOBODY - 1)])
@pytest.mark.parametrize("name", ["gzip", "command", "object"])
def test_a_compressed_file_is_like_the_plain_one_when_it_becomes_visible(
    live: Path, make: Make, name: str, locking: str, mode: int, owner: Tuple[int, int]
) -> None:
    if owner[0] == NOBODY and os.geteuid() != 0:
        pytest.skip("only root may give files away")
    compression, extension = compression_of(name)
    handler = make(live, compression=compression, locking=locking, upkeep="inline")
    seen: Dict[str, Dict[str, Look]] = {}

    def note(step: str) -> None:
        seen[step] = looks(live.parent)

    def note_from_here_on() -> None:  # a rotation has a step of the name "publish", too
        for step in ("copy", "seal", "publish", "clear"):
            handler.interrupts[step] = functools.partial(note, step)

    handler.interrupts["choose"] = note_from_here_on
    scribe = Scribe(handler, 1)
    log_well(scribe)
    os.chown(live, *owner)
    live.chmod(mode)
    os.utime(live, ns=(1_600_000_000_987_654_321, 1_600_000_001_123_456_789))
    handler.doRollover()
    close_well(handler)
    [plain] = backups(make, [b""], "")
    me = (os.getuid(), os.getgid(), 0o600)
    assert [drafts(seen[step]) for step in ("copy", "seal")] == [[me], [me]]
    visible = seen["publish"][plain + extension]
    # The last access to the plain one is that of the compression, by now.
    assert visible == seen["publish"][plain]._replace(read=visible.read)
    assert visible == (*owner, mode, 1_600_000_000_987_654_321, 1_600_000_001_123_456_789)
    assert looks(live.parent)[plain + extension] == visible


@with_both_handlers
def test_the_time_of_the_last_access_is_not_that_of_the_compression(live: Path, make: Make) -> None:
    """As of gzip and xz: they note the times before they read."""
    handler = make(live, use_gzip=True, upkeep="inline")
    log_well(Scribe(handler, 1))
    read, modified = 1_600_000_000_987_654_321, 1_600_000_001_123_456_789
    os.utime(live, ns=(read, modified))
    handler.doRollover()
    close_well(handler)
    status = live.with_name(next(iter(backups(make, [b""])))).stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (read, modified)


@with_both_handlers
@pytest.mark.parametrize("options", [{"chmod": 0o604}, {"umask": 0o007}])
def test_compressed_files_have_the_permissions_that_the_log_is_given(
    live: Path, make: Make, options: Dict[str, Any]
) -> None:
    scribe = Scribe(make(live, use_gzip=True, **options), 1)
    log_well(scribe, 2 * FULL + 1)
    close_well(scribe.handler)
    mode = options.get("chmod", 0o660)
    for_writers = {0o604: 0o600}.get(mode, mode)
    assert {name: each[2] for name, each in looks(live.parent).items()} == {
        **dict.fromkeys({LIVE, *backups(make, [b"", b""])}, mode),
        **dict.fromkeys(HELPERS, for_writers),
    }


# ------------------------------------------------------------------------ backups of earlier settings


@in_both_modes
@with_both_upkeeps
def test_numbered_files_of_other_codecs_shift_and_expire(live: Path, locking: str, upkeep: str) -> None:
    plant(live.parent, {f"{LIVE}.1": b"plain\n"})
    earlier = {f"{LIVE}.{number + 2}{each}": each.encode() for number, each in enumerate(COMPRESSED)}
    plant(live.parent, earlier)
    scribe = Scribe(by_size(live, use_gzip=True, backupCount=5, locking=locking, upkeep=upkeep), 1)
    log_well(scribe, FULL + 1)
    close_well(scribe.handler)
    files = found(live)
    packed = {name: gzip.decompress(files.pop(name)) for name in (f"{LIVE}.1.gz", f"{LIVE}.2.gz")}
    assert packed == {f"{LIVE}.1.gz": full_file(1), f"{LIVE}.2.gz": b"plain\n"}
    assert files == {
        LIVE: line(even, 1, FULL + 1),
        **{f"{LIVE}.{number + 3}{each}": each.encode() for number, each in enumerate(COMPRESSED[:3])},
    }


@in_both_modes
@with_both_upkeeps
def test_dated_files_of_other_codecs_expire(live: Path, locking: str, upkeep: str) -> None:
    names = [dated(BEGIN - (6 - each) * HOUR) + extension for each, extension in enumerate(COMPRESSED)]
    names.append(dated(BEGIN - HOUR))
    plant(live.parent, dict.fromkeys(names, b"old\n"))
    handler = by_time(live, use_gzip=True, backupCount=4, locking=locking, upkeep=upkeep)
    assert handler.getFilesToDelete() == [str(live.with_name(name)) for name in names[:2]]
    log_well(Scribe(handler, 1), FULL + 1)
    assert handler.wait_for_upkeep() is True
    assert handler.getFilesToDelete() == []
    close_well(handler)
    assert set(found(live)) == {LIVE, *names[3:5], names[5] + ".gz", dated(BEGIN) + ".gz"}


def test_files_of_an_extension_of_the_users_own_count_as_long_as_it_is_used(live: Path) -> None:
    names = [dated(BEGIN - hour * HOUR) + ".own" for hour in (3, 2, 1)]
    plant(live.parent, dict.fromkeys(names, b"old\n"))
    handler = by_time(live, backupCount=1)
    assert handler.getFilesToDelete() == []
    handler.close()
    handler = by_time(live, backupCount=1, compression=Own())
    assert handler.getFilesToDelete() == [str(live.with_name(name)) for name in names[:2]]
    close_well(handler)


@with_both_handlers
@in_both_modes
@with_both_upkeeps
def test_what_others_have_left_plain_is_compressed_at_the_first_record(
    live: Path, make: Make, locking: str, upkeep: str
) -> None:
    old = {old_name(make, rank): f"old {rank}\n".encode() for rank in range(1, 4)}
    plant(live.parent, old)
    scribe = Scribe(make(live, use_gzip=True, locking=locking, upkeep=upkeep), 1)
    log_well(scribe)
    close_well(scribe.handler)
    assert unpacked(live) == {
        LIVE: line(even, 1, 1),
        **{name + ".gz": content for name, content in old.items()},
    }


@with_both_handlers
def test_a_peer_that_does_not_compress_leaves_it_to_one_who_does(
    live: Path, children: Children, make: Make
) -> None:
    compressing = children.writer(functools.partial(make, live, use_gzip=True), 1)
    plain = children.writer(functools.partial(make, live), 2)
    for _ in range(4):
        for each in (compressing, plain):
            assert each.log(FULL).faults == ((), ())
    assert [each.end().faults for each in (plain, compressing)] == [((), ())] * 2
    files = unpacked(live)
    assert {Path(name).suffix for name in files if name != LIVE} == {".gz"}
    records = b"".join(files.values()).splitlines(keepends=True)
    assert sorted(records) == [
        line(even, writer, number) for writer in (1, 2) for number in range(1, 4 * FULL + 1)
    ]


# ------------------------------------------------------------------------ two files of one backup

OLD = b"".join(b"old record %d\n" % number for number in range(1_000))


def cut(share: float) -> bytes:
    packed = gzip.compress(OLD)
    return packed[: int(len(packed) * share)]


@with_both_handlers
@in_both_modes
@with_both_upkeeps
@pytest.mark.parametrize(
    ("extension", "beside"),
    [
        (".gz", b""),
        (".gz", cut(0)[:1]),
        (".gz", gzip.compress(OLD)[:5]),
        (".gz", gzip.compress(OLD)[:15]),
        (".gz", cut(0.5)),
        (".gz", gzip.compress(OLD)[:-1]),
        (".gz", gzip.compress(OLD)),
        (".gz", gzip.compress(OLD[:100])),
        (".gz", gzip.compress(b"")),
        (".bz2", bz2.compress(OLD)),
        (".bz2", bz2.compress(OLD)[:-7]),
        (".xz", lzma.compress(OLD)[:-7]),
        (".xz", lzma.compress(OLD)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_a_compressed_file_of_the_plain_one_beside_it_is_made_again(
    live: Path, make: Make, locking: str, upkeep: str, extension: str, beside: bytes
) -> None:
    """What 0.9.x leaves when it is killed while it compresses: it deletes the plain one in the end."""
    name = old_name(make, 1)
    plant(live.parent, {name: OLD, name + extension: beside})
    scribe = Scribe(make(live, use_gzip=True, locking=locking, upkeep=upkeep), 1)
    log_well(scribe)
    close_well(scribe.handler)
    assert unpacked(live) == {LIVE: line(even, 1, 1), name + ".gz": OLD}


def test_files_of_several_codecs_beside_one_plain_one_are_made_one_again(live: Path) -> None:
    plant(live.parent, {f"{LIVE}.1": OLD, f"{LIVE}.1.bz2": bz2.compress(OLD), f"{LIVE}.1.gz": cut(0.5)})
    scribe = Scribe(by_size(live, compression="xz"), 1)
    log_well(scribe)
    close_well(scribe.handler)
    assert unpacked(live) == {LIVE: line(even, 1, 1), f"{LIVE}.1.xz": OLD}


@in_both_modes
@with_both_upkeeps
def test_two_files_of_one_backup_may_be_renamed_while_they_are_compared(
    live: Path, monkeypatch: pytest.MonkeyPatch, locking: str, upkeep: str
) -> None:
    handler = by_size(live, use_gzip=True, locking=locking, upkeep=upkeep)
    log_well(Scribe(handler, 1))
    assert handler.wait_for_upkeep() is True
    plant(live.parent, {f"{LIVE}.1": OLD, f"{LIVE}.1.gz": cut(0.5)})
    rotations = [handler.doRollover]

    def rotate_first(file: BinaryIO, extension: str) -> Any:
        while rotations:
            rotations.pop()()
        return content_of(file, extension)

    monkeypatch.setattr(compressor, "content_of", rotate_first)
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    assert unpacked(live) == {LIVE: b"", f"{LIVE}.1.gz": line(even, 1, 1), f"{LIVE}.2.gz": OLD}


def plain_by_size(live: Path, **options: Any) -> logging.Handler:
    return ConcurrentRotatingFileHandler(live, backupCount=MANY, **options)


def plain_by_time(live: Path, **options: Any) -> logging.Handler:
    return ConcurrentTimedRotatingFileHandler(live, when="H", utc=True, **options)


def handle(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, __file__, 0, text, (), None))


@pytest.mark.parametrize(
    ("plain", "make"), [(plain_by_size, by_size), (plain_by_time, by_time)], ids=["by_size", "by_time"]
)
@in_both_modes
@pytest.mark.parametrize(
    ("extension", "beside"),
    [
        (".gz", gzip.compress(b"something else\n")),
        (".gz", gzip.compress(OLD + b"and more\n")),
        (".gz", gzip.compress(b"something else\n" * 1_000)[:-9]),
        (".gz", b"by hand\n"),
        (".xz", b"by hand\n"),
        (".lz4", b"nobody here can read it\n"),
    ],
    ids=["other", "longer", "other-cut", "no-gzip", "no-xz", "unreadable"],
)
def test_a_compressed_file_with_other_content_is_left_alone_and_reported_once(
    live: Path,
    capsys: pytest.CaptureFixture[str],
    plain: Callable[..., Any],
    make: Make,
    locking: str,
    extension: str,
    beside: bytes,
) -> None:
    name = old_name(make, 1)
    plant(live.parent, {name: OLD, name + extension: beside})
    handler = plain(live, use_gzip=True, locking=locking)
    for turn in range(3):
        handle(handler, f"record {turn}")
        assert handler.wait_for_upkeep() is True  # or the rotation would come in the middle
        handler.doRollover()
        assert handler.wait_for_upkeep() is True
    handler.close()
    name = f"{LIVE}.4" if make is by_size else name
    files = found(live)
    assert (files.pop(name), files.pop(name + extension), files.pop(LIVE)) == (OLD, beside, b"")
    assert sorted(map(gzip.decompress, files.values())) == [b"record %d\n" % turn for turn in range(3)]
    reports = capsys.readouterr().err.splitlines()
    assert [report.count(": cannot compress an old file: ") for report in reports] == [1], reports


@pytest.mark.parametrize("kind", ["directory", "dangling-link", "link-to-the-log"])
@with_both_handlers
def test_what_is_no_file_keeps_the_name_and_the_plain_file_stays(live: Path, make: Make, kind: str) -> None:
    name = old_name(make, 1)
    plant(live.parent, {name: OLD})
    taken = live.with_name(name + ".gz")
    taken.mkdir() if kind == "directory" else taken.symlink_to("nowhere" if kind == "dangling-link" else LIVE)
    scribe = Scribe(make(live, use_gzip=True, upkeep="inline"), 1)
    scribe.log()
    scribe.handler.close()
    assert len(scribe.handler.reports) == 1
    assert taken.is_dir() if kind == "directory" else taken.is_symlink()
    taken.rmdir() if kind == "directory" else taken.unlink()
    assert found(live) == {LIVE: line(even, 1, 1), name: OLD}
    heir = make(live, use_gzip=True, upkeep="inline")
    close_well(heir)
    assert heir.wait_for_upkeep() is True
    assert unpacked(live) == {LIVE: line(even, 1, 1), name + ".gz": OLD}


@in_both_modes
@pytest.mark.parametrize("use_gzip", [True, False])
def test_a_plain_file_and_its_compressed_one_count_as_one_numbered_backup(
    live: Path, locking: str, use_gzip: bool
) -> None:
    pairs = {number: (b"%d\n" % number, gzip.compress(b"other %d\n" % number)) for number in (1, 2, 3)}
    for number, (bare, packed) in pairs.items():
        plant(live.parent, {f"{LIVE}.{number}": bare, f"{LIVE}.{number}.gz": packed})
    scribe = Scribe(by_size(live, backupCount=3, use_gzip=use_gzip, locking=locking), 1)
    scribe.log()
    scribe.handler.doRollover()
    scribe.handler.close()
    new = ".gz" if use_gzip else ""
    files = found(live)
    assert UNPACK.get(new, bytes)(files.pop(f"{LIVE}.1{new}")) == line(even, 1, 1)
    expected: Files = {LIVE: b""}
    for number in (1, 2):
        expected[f"{LIVE}.{number + 1}"], expected[f"{LIVE}.{number + 1}.gz"] = pairs[number]
    assert files == expected


@in_both_modes
@pytest.mark.parametrize("use_gzip", [True, False])
def test_a_plain_file_and_its_compressed_one_count_as_one_dated_backup(
    live: Path, locking: str, use_gzip: bool
) -> None:
    names = [dated(BEGIN - hour * HOUR) for hour in (3, 2, 1)]
    for name in names:
        plant(live.parent, {name: name.encode(), name + ".gz": gzip.compress(b"something else\n")})
    handler = by_time(live, backupCount=2, use_gzip=use_gzip, locking=locking)
    doomed = [str(live.with_name(names[0] + each)) for each in ("", ".gz")]
    assert handler.getFilesToDelete() == doomed
    Scribe(handler, 1).log()
    handler.doRollover()
    handler.close()
    new = dated(BEGIN) + (".gz" if use_gzip else "")
    assert set(found(live)) == {LIVE, new, names[2], names[2] + ".gz"}


# ------------------------------------------------------------------------ wait_for_upkeep


class Gate:
    """Holds a thread at a place until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go_on.wait(LONG)

    def wait(self) -> None:
        assert self.reached.wait(LONG)


@with_both_handlers
@with_both_upkeeps
def test_waiting_for_the_upkeep_when_there_is_none(live: Path, make: Make, upkeep: str) -> None:
    handler = make(live, use_gzip=True, upkeep=upkeep)
    assert handler.wait_for_upkeep() is True
    log_well(Scribe(handler, 1))
    assert handler.wait_for_upkeep(timeout=LONG) is True
    close_well(handler)
    assert handler.wait_for_upkeep(LONG) is True
    assert found(live) == {LIVE: line(even, 1, 1)}


@with_both_handlers
@in_both_modes
def test_waiting_for_the_upkeep_takes_no_longer_than_asked_for(live: Path, make: Make, locking: str) -> None:
    gate = Gate()
    handler = make(live, use_gzip=True, locking=locking, interrupts={"copy": gate})
    scribe = Scribe(handler, 1)
    log_well(scribe, FULL + 1)
    gate.wait()
    began = time.monotonic()
    assert (handler.wait_for_upkeep(0.05), handler.wait_for_upkeep(timeout=0)) == (False, False)
    assert 0.05 <= time.monotonic() - began < LONG / 2
    gate.go_on.set()
    assert handler.wait_for_upkeep() is True
    held = [full_file(1)]
    assert unpacked(live) == {LIVE: line(even, 1, FULL + 1), **backups(make, held)}
    close_well(handler)


@with_both_handlers
@with_both_upkeeps
def test_waiting_for_the_upkeep_waits_for_that_of_a_peer(
    live: Path, children: Children, make: Make, upkeep: str
) -> None:
    peer = children.writer(functools.partial(make, live, use_gzip=True, interrupts={"copy": stop_myself}), 1)
    peer.tell(FULL + 1)
    peer.stopped()
    handler = make(live, use_gzip=True, upkeep=upkeep)
    assert handler.wait_for_upkeep(0.05) is False
    peer.resume()
    assert peer.said().faults == ((), ())
    assert handler.wait_for_upkeep(LONG) is True
    expected = {LIVE: line(even, 1, FULL + 1), **backups(make, [full_file(1)])}
    # The name that the peer has made it under may still be there for an instant.
    assert {name: each for name, each in unpacked(live).items() if name.startswith(LIVE)} == expected
    assert peer.end().faults == ((), ())
    close_well(handler)
    assert unpacked(live) == expected


class Failing(Own):
    """Fails at first."""

    failures = MANY

    def open(self, path: str) -> Any:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("out of order")
        return super().open(path)


@with_both_handlers
@with_both_upkeeps
def test_waiting_for_an_upkeep_that_fails_comes_to_an_end(live: Path, make: Make, upkeep: str) -> None:
    handler = make(live, compression=Failing(), upkeep=upkeep)
    Scribe(handler, 1).log(FULL + 1)
    assert handler.wait_for_upkeep(LONG) is True
    handler.close()
    assert handler.reports == ["cannot compress an old file: out of order"]
    assert found(live) == {LIVE: line(even, 1, FULL + 1), **backups(make, [full_file(1)], "")}


# ------------------------------------------------------------------------ on_rotate


@with_both_handlers
@in_both_modes
@with_both_upkeeps
def test_the_compressed_file_is_handed_on_once(live: Path, make: Make, locking: str, upkeep: str) -> None:
    handed: List[Tuple[str, bytes]] = []

    def on_rotate(path: str) -> None:
        handed.append((Path(path).name, gzip.decompress(Path(path).read_bytes())))

    options = {"locking": locking, "upkeep": upkeep, "on_rotate": on_rotate}
    scribe = Scribe(make(live, use_gzip=True, **options), 1)
    held = [rotate_well(scribe) for _ in range(3)]
    close_well(scribe.handler)
    names = [f"{LIVE}.1.gz"] * 3 if make is by_size else list(backups(make, held))
    assert handed == list(zip(names, held))


@with_both_handlers
@with_both_upkeeps
def test_what_cannot_be_compressed_is_handed_on_plain_and_not_again(
    live: Path, make: Make, upkeep: str
) -> None:
    handed: List[Tuple[str, bytes]] = []

    def on_rotate(path: str) -> None:
        content = Path(path).read_bytes()
        handed.append((Path(path).suffix, UNPACK.get(Path(path).suffix, bytes)(content)))

    failing = Failing()
    handler = make(live, compression=failing, upkeep=upkeep, on_rotate=on_rotate)
    scribe = Scribe(handler, 1)
    for _ in range(2):
        scribe.log()
        handler.doRollover()
        assert handler.wait_for_upkeep() is True
        failing.failures = 0
    handler.close()
    held = [line(even, 1, 1), line(even, 1, 2)]
    assert [content for _, content in handed] == held
    assert [suffix == ".own" for suffix, _ in handed] == [False, True]
    assert handler.reports == ["cannot compress an old file: out of order"]
    assert unpacked(live) == {LIVE: b"", **backups(make, held, ".own")}


@with_both_handlers
@in_both_modes
def test_a_file_with_the_inode_of_one_that_was_compressed_is_compressed_before_it_is_handed_on(
    live: Path, make: Make, locking: str
) -> None:
    """Many file systems give the number of a deleted file to the next one that is made."""
    plant(live.parent, {old_name(make, rank): b"old\n" for rank in (1, 2)})
    handed: List[str] = []
    handler = make(live, use_gzip=True, locking=locking, on_rotate=handed.append)
    scribe = Scribe(handler, 1)

    def rotate() -> None:
        for _ in range(3):
            scribe.log()
            handler.doRollover()

    # When the second file is begun: the first one has been deleted, and nothing been made since.
    handler.interrupts["choose"] = functools.partial(handler.interrupts.update, choose=rotate)
    log_well(scribe)
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    assert [Path(path).suffix for path in handed] == [".gz"] * 3


def note_first_record(notes: Path, path: str) -> None:
    first = gzip.decompress(Path(path).read_bytes()).splitlines(keepends=True)[0]
    with notes.open("ab", buffering=0) as stream:
        stream.write(first)


@with_both_handlers
@in_both_modes
def test_each_compressed_file_of_several_processes_is_handed_on_once(
    live: Path, tmp_path: Path, children: Children, make: Make, locking: str
) -> None:
    notes = tmp_path / "notes"
    options = {"locking": locking, "on_rotate": functools.partial(note_first_record, notes)}
    made = functools.partial(make, live, use_gzip=True, **options)
    writers = [children.writer(made, number) for number in (1, 2, 3)]
    for _ in range(4):
        for writer in writers:
            writer.tell(FULL)
        assert [writer.said().faults for writer in writers] == [((), ())] * 3
    assert [writer.end().faults for writer in writers] == [((), ())] * 3
    firsts = [each.splitlines(True)[0] for name, each in unpacked(live).items() if name != LIVE]
    assert sorted(notes.read_bytes().splitlines(keepends=True)) == sorted(firsts)
    assert {Path(name).suffix for name in found(live) if name != LIVE} == {".gz"}


# ------------------------------------------------------------------------ limits

OLD_SIZE = 200
LARGE = 10_000
ENOUGH = 4_000_000
"""Bytes that the file system of a test has."""


class SmallDisk(Posix):
    """A file system with little space."""

    def free_bytes(self, path: str) -> int:
        return ENOUGH - sum(each.stat().st_size for each in Path(path).glob(LIVE + ".*"))


def old_content(rank: int) -> bytes:
    return b"old %d\n" % rank * (OLD_SIZE // 6) + b"\n" * (OLD_SIZE % 6)


@with_both_handlers
@in_both_modes
@with_both_upkeeps
@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, 5),
        ({"backupCount": 3}, 2),
        ({"max_age": 9_000}, 2),
        ({"max_total_bytes": 3 * OLD_SIZE}, 2),
        ({"max_total_bytes": OLD_SIZE}, 0),
        ({"max_total_bytes": 0}, -1),
        ({"min_free_bytes": ENOUGH - 3 * OLD_SIZE}, 2),
        ({"max_age": 9_000, "backupCount": 2}, 1),
    ],
)
def test_compressed_files_expire_by_the_space_that_they_take(
    live: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    locking: str,
    upkeep: str,
    limits: Dict[str, Any],
    left: int,
) -> None:
    monkeypatch.setattr(base, "SYSTEM", SmallDisk())
    for rank, extension in enumerate(COMPRESSED, 1):
        path = live.with_name(old_name(make, rank) + extension)
        path.write_bytes(old_content(rank))
        os.utime(path, (time.time() - rank * HOUR,) * 2)
    options = {"locking": locking, "upkeep": upkeep, "clock": time.time, **limits}
    handler = make(live, use_gzip=True, maxBytes=0, **options)
    scribe = Scribe(handler, 1, lambda *_: "x" * (LARGE - 1))
    log_well(scribe)
    assert handler.wait_for_upkeep() is True  # or the rotation would come in the middle
    handler.doRollover()
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    files = found(live)
    assert files.pop(LIVE) == b""
    new = [files.pop(name) for name in list(files) if not files[name].startswith((b"old", b"\n"))]
    assert [gzip.decompress(each) for each in new] == [b"x" * (LARGE - 1) + b"\n"] * (left >= 0)
    assert sorted(files.values()) == [old_content(rank) for rank in range(1, left + 1)]


@with_both_handlers
@in_both_modes
@pytest.mark.parametrize(
    "limit", [{"max_total_bytes": 3 * OLD_SIZE}, {"min_free_bytes": ENOUGH - 3 * OLD_SIZE}]
)
def test_a_file_that_is_still_to_be_compressed_does_not_make_others_expire_by_its_size(
    live: Path, monkeypatch: pytest.MonkeyPatch, make: Make, locking: str, limit: Dict[str, int]
) -> None:
    """One that is rotated when the upkeep has just compressed all that there was, and comes to expiring."""
    monkeypatch.setattr(base, "SYSTEM", SmallDisk())
    old = old_name(make, 1) + ".gz"
    live.with_name(old).write_bytes(old_content(1))
    handler = make(live, use_gzip=True, maxBytes=0, locking=locking, **limit)
    scribe = Scribe(handler, 1, lambda *_: "x" * (LARGE - 1))
    expire, rotations = room.Upkeep._expire, [handler.doRollover]

    def rotate_first(turn: room.Upkeep) -> None:
        while rotations:
            rotations.pop()()
        expire(turn)

    monkeypatch.setattr(room.Upkeep, "_expire", rotate_first)
    log_well(scribe)
    handler._log.background.tidy_here()
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    files = found(live)
    files.pop(LIVE)
    kept = old_content(1) in files.values()
    packed = [gzip.decompress(each) for each in files.values() if each != old_content(1)]
    assert (kept, packed) == (True, [b"x" * (LARGE - 1) + b"\n"])


@with_both_handlers
@in_both_modes
def test_a_file_that_a_peer_compresses_does_not_make_others_expire_by_its_size(
    live: Path, children: Children, make: Make, locking: str
) -> None:
    options = {"maxBytes": 0, "locking": locking, "max_total_bytes": 3 * OLD_SIZE}
    made = functools.partial(make, live, use_gzip=True, **options)
    peer = children.start(rotate_once, functools.partial(made, interrupts={"copy": stop_myself}))
    peer.stopped()
    scribe = Scribe(made(), 2)
    log_well(scribe)
    scribe.handler.doRollover()
    assert scribe.handler.wait_for_upkeep(0.05) is False
    peer.resume()
    assert peer.answer().faults == ((), ())
    assert scribe.handler.wait_for_upkeep(LONG) is True
    close_well(scribe.handler)
    held = [b"x" * (LARGE - 1) + b"\n", line(even, 2, 1)]
    assert unpacked(live) == {LIVE: b"", **backups(make, held)}


def rotate_once(connection: Connection, make: Callable[[], Watched]) -> None:
    scribe = Scribe(make(), 1, lambda *_: "x" * (LARGE - 1))
    scribe.log()
    scribe.handler.doRollover()
    scribe.handler.wait_for_upkeep(
        LONG
    )  # without the lock, which `close` may have in the moment it is stopped
    scribe.handler.close()
    connection.send(scribe.said())


@with_both_handlers
@in_both_modes
@with_both_upkeeps
def test_no_more_compressed_files_stay_than_may_be_kept(
    live: Path, make: Make, locking: str, upkeep: str
) -> None:
    handler = make(live, use_gzip=True, backupCount=2, locking=locking, upkeep=upkeep)
    log_well(Scribe(handler, 1), 6 * FULL + 1)
    close_well(handler)
    held = [full_file(number) for number in range(1, 7)]
    expected = dict(list(backups(make, held).items())[-2:])
    assert unpacked(live) == {LIVE: line(even, 1, 6 * FULL + 1), **expected}


@in_both_modes
def test_a_dated_file_that_has_been_compressed_is_found_by_those_who_delete_themselves(
    live: Path, locking: str
) -> None:
    asked: List[List[str]] = []

    class Asking(Jumping):
        def getFilesToDelete(self) -> List[str]:  # noqa: N802 - logging named it
            asked.append([Path(path).name for path in super().getFilesToDelete()])
            return []

    options: Dict[str, Any] = {"clock": lambda: BEGIN, "upkeep": "inline", "locking": locking}
    handler = Asking(
        str(live), when="H", utc=True, maxBytes=FULL * EVEN, use_gzip=True, backupCount=1, **options
    )
    log_well(Scribe(handler, 1), 3 * FULL)
    close_well(handler)
    assert asked[-1] == [dated(BEGIN) + ".gz"]
    assert unpacked(live) == {LIVE: full_file(3), **backups(by_time, [full_file(1), full_file(2)])}


# ------------------------------------------------------------------------ many numbers, while one is compressed


def numbered(count: int, first: int = 1) -> Files:
    return {f"{LIVE}.{first + each}.gz": b"backup %d\n" % each for each in range(count)}


@in_both_modes
@pytest.mark.parametrize("step", ["choose", "copy", "seal", "complete", "clear"])
@pytest.mark.parametrize(("count", "keep"), [(3, MANY), (40, MANY), (40, 40), (300, MANY), (300, 302)])
def test_numbers_shift_while_a_file_is_compressed(
    live: Path, locking: str, step: str, count: int, keep: int
) -> None:
    plant(live.parent, numbered(count))
    gate = Gate()
    handler = by_size(live, use_gzip=True, backupCount=keep, locking=locking, interrupts={step: gate})
    scribe = Scribe(handler, 1)
    log_well(scribe)
    handler.doRollover()
    gate.wait()
    for _ in range(2):
        log_well(scribe)
        handler.doRollover()
    gate.go_on.set()
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    files = contents(live.parent)
    new = {name: gzip.decompress(files.pop(name)) for name in numbered(3)}
    assert new == {f"{LIVE}.{4 - number}.gz": line(even, 1, number) for number in (1, 2, 3)}
    assert files == {LIVE: b"", **numbered(min(count, keep - 3), 4)}


@in_both_modes
@pytest.mark.parametrize("count", [3, 40, 300])
def test_who_logs_within_the_upkeep_may_rotate(live: Path, locking: str, count: int) -> None:
    """As a signal handler may that comes while an old file is compressed in a logging call."""
    plant(live.parent, numbered(count))
    handler = by_size(live, use_gzip=True, upkeep="inline", locking=locking)
    scribe = Scribe(handler, 1)

    def rotate_again() -> None:
        scribe.log()
        handler.doRollover()

    handler.interrupts["copy"] = rotate_again
    log_well(scribe)
    handler.doRollover()
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    files = contents(live.parent)
    new = {name: gzip.decompress(files.pop(name)) for name in numbered(2)}
    assert new == {f"{LIVE}.1.gz": line(even, 1, 2), f"{LIVE}.2.gz": line(even, 1, 1)}
    assert files == {LIVE: b"", **numbered(count, 3)}


def log_and_rotate(connection: Connection, make: Callable[[], Watched], writer: int) -> None:
    scribe = Scribe(make(), writer)
    connection.recv()
    for _ in range(10):
        scribe.log()
        scribe.handler.doRollover()
    assert scribe.handler.wait_for_upkeep(LONG)  # `close` alone begins nothing new after some seconds
    scribe.handler.close()
    connection.send(scribe.said())


@in_both_modes
@pytest.mark.parametrize("count", [40, 300])
def test_numbers_shift_for_several_processes_that_compress(
    live: Path, children: Children, locking: str, count: int
) -> None:
    plant(live.parent, numbered(count))
    made = functools.partial(by_size, live, maxBytes=0, use_gzip=True, locking=locking)
    both = [children.start(log_and_rotate, made, number) for number in (1, 2)]
    for child in both:
        child.tell(None)
    assert [child.answer().faults for child in both] == [((), ())] * 2
    files = contents(live.parent)
    new = [gzip.decompress(files.pop(name)) for name in reversed(list(numbered(20)))]
    records = b"".join(new).splitlines(keepends=True)
    for writer in (1, 2):
        own = [line(even, writer, number) for number in range(1, 11)]
        assert [each for each in records if each in own] == own
    assert len(records) == 20
    assert files == {LIVE: b"", **numbered(count, 21)}


def plain_names(names: Iterable[str]) -> List[str]:
    return [name for name in names if not name.endswith(".gz") and name != LIVE]


@pytest.mark.parametrize("count", [40, 300])
def test_full_files_are_rotated_while_a_file_is_compressed(live: Path, count: int) -> None:
    """Without a call for it: the shift of so many goes on in a thread, and the log grows meanwhile."""
    plant(live.parent, numbered(count))
    gate = Gate()
    handler = by_size(live, use_gzip=True, interrupts={"copy": gate})
    scribe = Scribe(handler, 1)
    log_well(scribe)
    handler.doRollover()
    gate.wait()
    log_well(scribe, 20 * FULL)
    gate.go_on.set()
    assert handler.wait_for_upkeep() is True
    close_well(handler)
    files = contents(live.parent)
    rotations = len(files) - count - 1
    assert rotations > 1
    assert plain_names(files) == []
    new = [gzip.decompress(files.pop(name)) for name in reversed(list(numbered(rotations)))]
    assert b"".join([*new, files.pop(LIVE)]) == lines(even, 1, range(1, 20 * FULL + 2))
    assert files == numbered(count, rotations + 1)
