"""The codecs: what they write reads back, which levels and values they take, and what they say of all others."""

import bz2
import gzip
import importlib
import io
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Type

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
from concurrent_log_handler.compression import CODECS, READ_AT_ONCE, Codec, codec_of, content_of
from concurrent_log_handler.packing import Target

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
NAME = b"app.log.1"
MODIFIED = 1_600_000_000.75
TEXT = b"2026-11-22 10:00:00 INFO started\n" * 400
NOISE = random.Random(1).getrandbits(24 * READ_AT_ONCE).to_bytes(3 * READ_AT_ONCE, "big")  # noqa: S311

both_handlers = pytest.mark.parametrize(
    "kind", [ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler]
)

Unpack = Callable[[bytes], bytes]


# ------------------------------------------------------------------------ a compressed file, made by hand


class Pot:
    """A compressed file in the making, as the compressor has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "draft"
        self.fd = os.open(str(self.path), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)

    def pack(
        self, codec: Codec, pieces: Iterable[bytes], name: bytes = NAME, modified: float = MODIFIED
    ) -> bytes:
        """Compress pieces; return what has become of them."""
        packer = codec.pack(Target(str(self.path), self.fd, self._write, self._divert, name, modified))
        try:
            for piece in pieces:
                packer.write(piece)
            packer.finish()
        finally:
            packer.give_up()
            os.close(self.fd)
        return self.path.read_bytes()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def _divert(self) -> None:
        raise AssertionError("this is no forked child")


def packed(codec: Optional[Codec], *pieces: bytes, **about: Any) -> bytes:
    """Compress pieces, the codec on its own; return what has become of them."""
    assert codec is not None
    with tempfile.TemporaryDirectory() as folder:
        return Pot(Path(folder)).pack(codec, pieces, **about)


# ------------------------------------------------------------------------ modules that are there, or not


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let it be as if modules were not installed."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def plant(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Let it be as if a module was installed that has these members."""
    module = types.ModuleType(name)
    vars(module).update(members)
    package = name.rpartition(".")[0]
    if package:
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, name, module)


def plant_isal(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """Plant a module that is made like zlib, as isal's is; return the levels that it is asked for, to be."""
    levels: List[int] = []

    def compressobj(level: int, method: int, window: int) -> Any:
        levels.append(level)
        return zlib.compressobj(9, method, window)

    plant(monkeypatch, "isal.isal_zlib", compressobj=compressobj, DEFLATED=zlib.DEFLATED, crc32=zlib.crc32)
    return levels


def hide_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "isal", "isal.isal_zlib")


def gzip_without_isal(level: Optional[int] = None) -> Optional[Codec]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        hide_isal(monkeypatch)
        return codec_of("gzip", None, level)


def zstd_module() -> Any:
    """Return what decompresses zstd here, or skip the test."""
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return pytest.importorskip("zstandard")


def unpack_zstd(data: bytes) -> bytes:
    module = zstd_module()
    if hasattr(module, "decompress") and module.__name__ == "compression.zstd":
        return bytes(module.decompress(data))
    return bytes(module.ZstdDecompressor().decompressobj().decompress(data))


# ------------------------------------------------------------------------ what is written reads back


class Own:
    """An object of a user's, which compresses by what the standard library has."""

    extension = ".own"

    def open(self, path: str) -> Any:
        return gzip.open(path, "wb")


class Way(NamedTuple):
    """A way to compress, and the way back."""

    make: Callable[[], Optional[Codec]]
    unpack: Unpack
    needs: Callable[[], object] = str
    """Skips the test where something is not installed."""


CAT = {"command": ["gzip", "-c"], "extension": ".gz"}
WAYS: Dict[str, Way] = {
    "gzip": Way(gzip_without_isal, gzip.decompress),
    "stored": Way(lambda: gzip_without_isal(0), gzip.decompress),
    "isal": Way(
        lambda: codec_of("gzip", None, None),
        gzip.decompress,
        lambda: pytest.importorskip("isal.isal_zlib"),
    ),
    "bz2": Way(lambda: codec_of(None, "bz2", None), bz2.decompress),
    "xz": Way(lambda: codec_of(None, "xz", None), lzma.decompress),
    "zstd": Way(lambda: codec_of(None, "zstd", None), unpack_zstd, zstd_module),
    "lz4": Way(
        lambda: codec_of(None, "lz4", None),
        lambda data: bytes(importlib.import_module("lz4.frame").decompress(data)),
        lambda: pytest.importorskip("lz4.frame"),
    ),
    "command": Way(lambda: codec_of(None, CAT, None), gzip.decompress),
    "object": Way(lambda: codec_of(None, Own(), None), gzip.decompress),
}
every_way = pytest.mark.parametrize("name", list(WAYS))


def back_and_forth(name: str, pieces: List[bytes]) -> bytes:
    way = WAYS[name]
    return way.unpack(packed(way.make(), *pieces))


@every_way
@pytest.mark.parametrize("fill", ["noise", "text"])
@pytest.mark.parametrize(
    "size", [0, 1, 2, READ_AT_ONCE - 1, READ_AT_ONCE, READ_AT_ONCE + 1, 3 * READ_AT_ONCE]
)
def test_what_is_compressed_reads_back(name: str, fill: str, size: int) -> None:
    WAYS[name].needs()
    data = NOISE[:size] if fill == "noise" else (TEXT * (size // len(TEXT) + 1))[:size]
    pieces = [data[start : start + READ_AT_ONCE] for start in range(0, size, READ_AT_ONCE)]
    assert back_and_forth(name, pieces) == data


@every_way
@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.binary(max_size=2_000), max_size=8))
def test_it_reads_back_however_it_comes(name: str, pieces: List[bytes]) -> None:
    WAYS[name].needs()
    assert back_and_forth(name, pieces) == b"".join(pieces)


@every_way
def test_one_codec_makes_many_files(name: str) -> None:
    WAYS[name].needs()
    codec = WAYS[name].make()
    assert [WAYS[name].unpack(packed(codec, each)) for each in (b"one", b"", TEXT)] == [b"one", b"", TEXT]


@pytest.mark.parametrize(
    ("name", "program"),
    [("gzip", "gzip"), ("isal", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("zstd", "zstd"), ("lz4", "lz4")],
)
def test_the_usual_programs_read_it(name: str, program: str, tmp_path: Path) -> None:
    WAYS[name].needs()
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    codec = WAYS[name].make()
    assert codec is not None
    path = tmp_path / f"app.log.1{codec.extension}"
    path.write_bytes(packed(codec, TEXT, TEXT))
    assert subprocess.run([program, "-dc", str(path)], stdout=subprocess.PIPE, check=True).stdout == TEXT * 2


@pytest.mark.parametrize(
    ("compression", "extension"),
    [("gzip", ".gz"), ("bz2", ".bz2"), ("xz", ".xz"), (CAT, ".gz"), (Own(), ".own")],
)
def test_each_has_its_extension(compression: Any, extension: str) -> None:
    codec = codec_of(None, compression, None)
    assert codec is not None
    assert codec.extension == extension


def test_nothing_is_compressed_unless_asked_for() -> None:
    assert codec_of(False, None, None) is None


@pytest.mark.parametrize("use", [True, 1, "yes"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_use_gzip_is_gzip(use: object, compression: Optional[str]) -> None:
    codec = codec_of(use, compression, 9)
    assert codec is not None
    assert (codec.extension, gzip.decompress(packed(codec, TEXT))) == (".gz", TEXT)


# ------------------------------------------------------------------------ gzip


def deflated(data: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


@pytest.mark.parametrize(("level", "flags"), [(None, 0), (0, 0), (1, 4), (2, 0), (6, 0), (8, 0), (9, 2)])
@pytest.mark.usefixtures("without_isal")
def test_a_gzip_file_is_as_rfc_1952_says(level: Optional[int], flags: int) -> None:
    made = packed(codec_of(True, None, level), TEXT[:100], TEXT[100:])
    header = b"\x1f\x8b\x08\x08" + number(int(MODIFIED)) + bytes([flags, 3]) + NAME + b"\0"
    body = zlib.compressobj(6 if level is None else level, zlib.DEFLATED, -15)
    whole = body.compress(TEXT[:100]) + body.compress(TEXT[100:]) + body.flush()
    assert made == header + whole + number(zlib.crc32(TEXT)) + number(len(TEXT))


@pytest.fixture
def without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_isal(monkeypatch)


@pytest.mark.parametrize(
    ("modified", "noted"),
    [(0.0, 0), (-5.0, 0), (1.999, 1), (2.0**31, 2**31), (2.0**32 - 1, 2**32 - 1), (2.0**32 + 7, 7)],
)
@pytest.mark.usefixtures("without_isal")
def test_a_gzip_file_has_the_time_that_fits(modified: float, noted: int) -> None:
    made = packed(codec_of(True, None, None), TEXT, modified=modified)
    assert made[4:8] == number(noted)
    assert gzip.decompress(made) == TEXT


@pytest.mark.parametrize("name", ["app.log.1", "žluťoučký kůň.log.1", "app.log.1\udcff", "x" * 255])
@pytest.mark.usefixtures("without_isal")
def test_a_gzip_file_has_the_name_as_the_file_system_has_it(name: str) -> None:
    made = packed(codec_of(True, None, None), TEXT, name=os.fsencode(name))
    assert made[10:].split(b"\0")[0] == os.fsencode(name)
    assert gzip.decompress(made) == TEXT


@pytest.mark.skipif(shutil.which("gzip") is None, reason="takes gzip")
@pytest.mark.usefixtures("without_isal")
def test_gzip_restores_name_and_time(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.gz").write_bytes(packed(codec_of(True, None, None), TEXT))
    subprocess.run([str(shutil.which("gzip")), "-dN", "elsewhere.gz"], cwd=str(tmp_path), check=True)
    [restored] = tmp_path.iterdir()
    assert (restored.name, restored.read_bytes()) == (NAME.decode(), TEXT)
    assert restored.stat().st_mtime == int(MODIFIED)


@pytest.mark.parametrize(("level", "asked"), [(None, 2), (1, 1), (2, 2), (3, 3)])
def test_isal_is_used_by_itself(monkeypatch: pytest.MonkeyPatch, level: Optional[int], asked: int) -> None:
    levels = plant_isal(monkeypatch)
    made = packed(codec_of(None, "gzip", level), TEXT)
    assert (levels, gzip.decompress(made)) == ([asked], TEXT)
    assert made[8] == (4 if asked == 1 else 0)


@pytest.mark.parametrize("level", [0, *range(4, 10)])
def test_levels_that_isal_has_not_are_those_of_zlib(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    levels = plant_isal(monkeypatch)
    made = packed(codec_of(None, "gzip", level), TEXT)
    assert (levels, made[20:-8]) == ([], deflated(TEXT, level))


def test_zlib_is_used_where_isal_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide_isal(monkeypatch)
    for name in ("isal", "isal.isal_zlib"):
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "isal").mkdir()
    (tmp_path / "isal" / "__init__.py").touch()
    (tmp_path / "isal" / "isal_zlib.py").write_text("raise ImportError('built for another processor')")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = packed(codec_of(None, "gzip", None), TEXT)
    assert made[20:-8] == deflated(TEXT, 6)


# ------------------------------------------------------------------------ levels


@pytest.mark.parametrize("level", [None, *range(1, 10)])
def test_levels_of_bz2(level: Optional[int]) -> None:
    assert packed(codec_of(None, "bz2", level), TEXT) == bz2.compress(TEXT, 9 if level is None else level)


@pytest.mark.parametrize("level", [None, *range(10)])
def test_levels_of_xz(level: Optional[int]) -> None:
    preset = 2 if level is None else level
    assert packed(codec_of(None, "xz", level), TEXT) == lzma.compress(TEXT, preset=preset)


class Noting:
    """Stands in for the stream of a codec that is not installed; writes what it is given, in brackets."""

    def __init__(
        self, notes: List[Tuple[Tuple[Any, ...], Dict[str, Any]]], *args: Any, **options: Any
    ) -> None:
        notes.append((args, options))

    def compressobj(self) -> "Noting":
        return self

    def begin(self) -> bytes:
        return b"<"

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b">"


@pytest.mark.parametrize(("level", "asked"), [(None, 3), (1, 1), (19, 19), (22, 22)])
@pytest.mark.parametrize("module", ["compression.zstd", "zstandard"])
def test_zstd_is_of_the_standard_library_or_a_package(
    monkeypatch: pytest.MonkeyPatch, module: str, level: Optional[int], asked: int
) -> None:
    notes: List[Any] = []
    hide(monkeypatch, "compression", "compression.zstd", "zstandard")
    plant(monkeypatch, module, ZstdCompressor=lambda **options: Noting(notes, **options))
    assert packed(codec_of(None, "zstd", level), b"one ", b"two") == b"one two>"
    assert notes == [((), {"level": asked})]


def test_the_zstd_of_the_standard_library_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "zstandard")
    plant(monkeypatch, "compression.zstd", ZstdCompressor=lambda **options: Noting([], **options))
    assert packed(codec_of(None, "zstd", None), TEXT) == TEXT + b">"


@pytest.mark.parametrize(("level", "asked"), [(None, 0), (0, 0), (3, 3), (16, 16)])
def test_levels_of_lz4(monkeypatch: pytest.MonkeyPatch, level: Optional[int], asked: int) -> None:
    notes: List[Any] = []
    plant(monkeypatch, "lz4.frame", LZ4FrameCompressor=lambda **options: Noting(notes, **options))
    codec = codec_of(None, "lz4", level)
    assert [packed(codec, b"one ", b"two"), packed(codec)] == [b"<one two>", b"<>"]
    assert notes == [((), {"compression_level": asked, "content_checksum": True})] * 2


@pytest.mark.parametrize("name", list(CODECS))
def test_all_levels_of_a_codec_are_taken(name: str) -> None:
    WAYS[name].needs()
    for level in CODECS[name].levels:
        assert WAYS[name].unpack(packed(codec_of(None, name, level), TEXT)) == TEXT, level


# ------------------------------------------------------------------------ values that are not allowed

KINDS = (
    "None, 'gzip', 'bz2', 'xz', 'zstd', 'lz4', a mapping with 'command' (a list) and 'extension', "
    "or an object with extension and open"
)
EXTENSION = "given an 'extension' such as '.zst'"
TIMEOUT = "given a 'timeout' of more than 0 seconds"


def command(**changes: Any) -> Dict[str, Any]:
    return {"command": ["zstd", "-q", "-c"], "extension": ".zst", **changes}


class NoOpen:
    extension = ".own"


class NotCallable(NoOpen):
    open = "open"


class NoExtension:
    def open(self, path: str) -> Any:
        raise NotImplementedError


def own(extension: Any) -> Any:
    made = Own()
    vars(made)["extension"] = extension
    return made


WRONG_EXTENSIONS = [
    "",
    ".",
    "zst",
    ".1",
    ".12",
    "..",
    "./zst",
    ".z/st",
    ".z st",
    ".zst\n",
    ".a.b",
    ".tmp",
    ".\0",
    b".zst",
    None,
    1,
]


@both_handlers
@pytest.mark.parametrize(
    ("given_value", "allowed"),
    [
        *((each, KINDS) for each in ["zip", "", "GZIP", ".gz", "isal", b"gzip", 1, True, False, ["gzip"]]),
        *((each, KINDS) for each in [{}, {"command": ["zstd"]}, {"extension": ".zst"}]),
        *(
            (command(command=each), KINDS)
            for each in ["zstd -q -c", [], (), None, ["zstd", 1], [b"zstd"], {"zstd"}]
        ),
        (command(level=3), KINDS),
        *((each, KINDS) for each in [NoOpen(), NotCallable(), NoExtension(), gzip]),
        *((command(extension=each), EXTENSION) for each in WRONG_EXTENSIONS),
        *((own(each), EXTENSION) for each in WRONG_EXTENSIONS),
        *((command(timeout=each), TIMEOUT) for each in [0, -1, "60", None, True, float("nan")]),
    ],
)
def test_a_wrong_compression_is_named(live: Path, kind: Type[Any], given_value: Any, allowed: str) -> None:
    assert_refused(live, kind, {"compression": given_value}, f"compression={given_value!r}", allowed)


@both_handlers
@pytest.mark.parametrize(
    ("compression", "level", "allowed"),
    [
        *(
            ("gzip", each, "None, or 0 to 9 for compression='gzip'")
            for each in [-1, 10, 6.0, "6", True, b"6", [6]]
        ),
        *(("bz2", each, "None, or 1 to 9 for compression='bz2'") for each in [0, 10, False]),
        *(("xz", each, "None, or 0 to 9 for compression='xz'") for each in [-1, 10]),
        *(("zstd", each, "None, or 1 to 22 for compression='zstd'") for each in [-1, 0, 23]),
        *(("lz4", each, "None, or 0 to 16 for compression='lz4'") for each in [-1, 17]),
        *((each, 6, "None for this compression") for each in [None, command(), Own()]),
    ],
)
def test_a_wrong_level_is_named(
    live: Path, kind: Type[Any], compression: Any, level: Any, allowed: str
) -> None:
    arguments = {"compression": compression, "compression_level": level}
    assert_refused(live, kind, arguments, f"compression_level={level!r}", allowed)


@both_handlers
@pytest.mark.parametrize("compression", ["bz2", "xz", "zip", command(), Own()])
def test_use_gzip_and_another_codec_contradict_each_other(
    live: Path, kind: Type[Any], compression: Any
) -> None:
    arguments = {"use_gzip": True, "compression": compression}
    assert_refused(live, kind, arguments, f"compression={compression!r}", "None or 'gzip' with use_gzip=True")


@both_handlers
@pytest.mark.parametrize("upkeep", ["", "thread", "INLINE", None, True])
def test_a_wrong_upkeep_is_named(live: Path, kind: Type[Any], upkeep: Any) -> None:
    allowed = "one of 'background', 'inline'"
    assert_refused(live, kind, {"use_gzip": True, "upkeep": upkeep}, f"upkeep={upkeep!r}", allowed)


def assert_refused(live: Path, kind: Type[Any], arguments: Dict[str, Any], value: str, allowed: str) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        kind(live, **arguments)
    assert str(caught.value) == f"{value} is not allowed: must be {allowed}"
    assert list(live.parent.iterdir()) == []


@both_handlers
@pytest.mark.parametrize("name", ["compression", "compression_level", "upkeep"])
def test_the_arguments_are_keyword_only(live: Path, kind: Type[Any], name: str) -> None:
    positional = kind.__init__.__code__.co_varnames[: kind.__init__.__code__.co_argcount]
    assert name not in positional
    kind(live, **{name: {"compression": "gzip", "compression_level": None, "upkeep": "inline"}[name]}).close()


# ------------------------------------------------------------------------ codecs that are not installed


@both_handlers
@pytest.mark.parametrize(
    ("compression", "modules"),
    [("zstd", ["compression", "compression.zstd", "zstandard"]), ("lz4", ["lz4", "lz4.frame"])],
)
def test_a_codec_that_is_not_installed_names_its_extra(
    live: Path, monkeypatch: pytest.MonkeyPatch, kind: Type[Any], compression: str, modules: List[str]
) -> None:
    hide(monkeypatch, *modules)
    with pytest.raises(ValueError, match="not installed") as caught:
        kind(live, compression=compression)
    assert str(caught.value) == (
        f"compression={compression!r} is not allowed: it needs a package that is not installed; "
        f"pip install concurrent-log-handler[{compression}]"
    )
    assert list(live.parent.iterdir()) == []


@pytest.mark.parametrize("extra", ["zstd", "lz4", "fast"])
def test_there_is_such_an_extra(extra: str) -> None:
    text = PYPROJECT.read_text("utf-8")
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert re.search(rf"^{extra} = \[", extras, re.MULTILINE) is not None


@pytest.mark.parametrize(("compression", "module"), [("gzip", "zlib"), ("bz2", "bz2"), ("xz", "lzma")])
def test_a_python_without_one_of_its_modules_is_told_of(
    monkeypatch: pytest.MonkeyPatch, compression: str, module: str
) -> None:
    hide_isal(monkeypatch)
    hide(monkeypatch, module)
    with pytest.raises(ValueError, match=f"^compression='{compression}' is not allowed: .*built without"):
        codec_of(None, compression, None)


def test_no_codec_is_imported_before_it_is_asked_for(live: Path) -> None:
    program = (
        "import sys, concurrent_log_handler as c; c.ConcurrentRotatingFileHandler(sys.argv[1]).close(); "
        "print(sorted({'gzip', 'bz2', 'lzma', 'isal', 'lz4', 'zstandard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(live)], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"[]\n"


# ------------------------------------------------------------------------ commands


def by_command(*words: str, **options: Any) -> Optional[Codec]:
    return codec_of(None, {"command": words, "extension": ".own", **options}, None)


def by_shell(script: str, **options: Any) -> Optional[Codec]:
    return by_command("sh", "-c", script, **options)


def test_a_command_has_its_words_as_they_are() -> None:
    codec = by_command("sh", "-c", 'cat; printf "|%s" "$@"', "sh", "$HOME", "a b; exit 1", "*")
    assert packed(codec, b"text") == b"text|$HOME|a b; exit 1|*"


def test_a_command_may_be_any_mapping() -> None:
    given_mapping: Mapping[str, Any] = types.MappingProxyType({"command": ("cat",), "extension": ".own"})
    codec = codec_of(None, given_mapping, None)
    assert packed(codec, b"text") == b"text"


def test_what_a_command_tells_is_not_in_the_file() -> None:
    assert packed(by_shell("echo started >&2; cat"), b"text") == b"text"


@pytest.mark.parametrize("size", [0, 1, 4 * READ_AT_ONCE])
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("cat >/dev/null; echo no room >&2; exit 3", r"\[Errno \d+\] ended with 3: no room: 'sh'"),
        ("cat; kill -9 $$", r"ended with -9: : 'sh'"),
        ("exec cat /nowhere/at-all", r"ended with 1: .*(/nowhere/at-all|cat).*: 'sh'"),
    ],
)
def test_a_command_that_fails_says_why(script: str, message: str, size: int) -> None:
    with pytest.raises(OSError, match=message):
        packed(by_shell(script), b"x" * size)


def test_a_command_may_say_a_lot() -> None:
    with pytest.raises(OSError, match="ended with 1: error") as caught:
        packed(by_shell("yes error | head -c 1000000 >&2; exit 1"), TEXT)
    assert len(str(caught.value)) < 400


def test_a_command_that_leaves_input_has_failed() -> None:
    with pytest.raises(OSError, match="did not read all of its input: 'true'"):
        packed(by_command("true"), b"x" * 4 * READ_AT_ONCE)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        packed(by_command("no-such-program", "-c"), TEXT)


@pytest.mark.parametrize("size", [0, 4 * READ_AT_ONCE])
def test_a_command_that_hangs_is_killed(tmp_path: Path, size: int) -> None:
    codec, pot = by_shell("echo $$; exec sleep 600", timeout=0.1), Pot(tmp_path)
    assert codec is not None
    with pytest.raises(OSError, match=r"has done nothing for 0\.1 seconds: 'sh'"):
        pot.pack(codec, [b"x" * size])
    with pytest.raises(ProcessLookupError):
        os.kill(int(pot.path.read_bytes()), 0)


def test_a_command_is_not_killed_as_long_as_it_makes_something() -> None:
    codec = by_shell("cat; for each in 1 2 3 4 5 6; do sleep 0.25; printf $each; done", timeout=1)
    assert packed(codec, b"0") == b"0123456"


@pytest.mark.parametrize("limit", [10**9, 1e30, float("inf")])
def test_a_command_may_be_given_as_long_as_it_takes(limit: float) -> None:
    data = b"x" * 4 * READ_AT_ONCE  # more than a pipe holds, so that the program is waited for
    assert packed(by_shell("sleep 0.1; cat", timeout=limit), data) == data


def test_a_command_of_whose_end_nobody_can_tell_has_failed() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match="somebody else has been told how"):
            packed(by_command("cat"), TEXT)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_signal_from_the_terminal_is_not_for_a_command() -> None:
    script = "cat; ps -o pgid= -p $$"
    if shutil.which("ps") is None:
        pytest.skip("ps is not installed")
    assert int(packed(by_shell(script))) != os.getpgrp()


# ------------------------------------------------------------------------ objects


class Recording(io.BytesIO):
    """A file of a user's that tells what is done to it."""

    def __init__(self, calls: List[object], failing: str = "") -> None:
        super().__init__()
        self._calls = calls
        self._failing = failing

    def write(self, data: Any) -> int:
        self._calls.append(bytes(data))
        self._fail("write")
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._calls.append("closed")
            super().close()
            self._fail("close")

    def _fail(self, call: str) -> None:
        if call == self._failing:
            raise RuntimeError(f"{call} failed")


def by_recording(calls: List[object], failing: str = "") -> Optional[Codec]:
    def open_it(path: str) -> Any:
        calls.append(Path(path).name)
        if failing == "open":
            raise RuntimeError("open failed")
        return Recording(calls, failing)

    return codec_of(None, types.SimpleNamespace(extension=".own", open=open_it), None)


def test_an_object_is_given_the_path_and_all_bytes_and_is_closed() -> None:
    calls: List[object] = []
    packed(by_recording(calls), b"one", b"two")
    assert calls == ["draft", b"one", b"two", "closed"]


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("open", ["draft"]),
        ("write", ["draft", b"one", "closed"]),
        ("close", ["draft", b"one", b"two", "closed"]),
    ],
)
def test_what_an_object_raises_is_what_is_raised(failing: str, expected: List[object]) -> None:
    calls: List[object] = []
    with pytest.raises(RuntimeError, match=f"^{failing} failed$"):
        packed(by_recording(calls, failing), b"one", b"two")
    assert calls == expected


class Gradual(io.FileIO):
    """A file without a buffer, which may take less than it is given, as on a disk that gets full."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data)[:7])


def test_what_an_unbuffered_file_does_not_take_at_once_is_not_lost() -> None:
    given_object = types.SimpleNamespace(extension=".own", open=lambda path: Gradual(path, "wb"))
    assert packed(codec_of(None, given_object, None), TEXT, b"end") == TEXT + b"end"


# ------------------------------------------------------------------------ reading compressed files


@pytest.mark.parametrize("size", [0, 1, READ_AT_ONCE, 3 * READ_AT_ONCE + 1])
@pytest.mark.parametrize("name", ["gzip", "bz2", "xz"])
def test_the_content_of_a_compressed_file_is_read_in_pieces(tmp_path: Path, name: str, size: int) -> None:
    codec = WAYS[name].make()
    assert codec is not None
    path = tmp_path / f"app.log.1{codec.extension}"
    path.write_bytes(packed(codec, b"x" * size))
    pieces = content_of(path.open("rb"), codec.extension)
    assert pieces is not None
    sizes = [len(each) for each in pieces]
    assert (sum(sizes), [each for each in sizes if each > READ_AT_ONCE]) == (size, [])


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz"])
def test_a_compressed_file_that_is_cut_short_ends_with_an_error(tmp_path: Path, name: str) -> None:
    codec = WAYS[name].make()
    assert codec is not None
    path = tmp_path / f"app.log.1{codec.extension}"
    path.write_bytes(packed(codec, TEXT)[:-1])
    pieces = content_of(path.open("rb"), codec.extension)
    assert pieces is not None
    with pytest.raises(EOFError):
        list(pieces)


@pytest.mark.parametrize("extension", [".zst", ".lz4", ".own", ""])
def test_what_cannot_be_read_here_is_said_so(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"app.log.1{extension}"
    path.write_bytes(b"")
    file = path.open("rb")
    assert content_of(file, extension) is None
    assert file.closed
