"""The house: rooms with one reason each, imports pointing down, pure rooms without I/O or clock.

ARCHITECTURE.md shows the picture; this holds it against the code.
"""

import ast
import re
import sys
from pathlib import Path
from typing import Iterator, Set

import pytest

import concurrent_log_handler

PACKAGE = Path(concurrent_log_handler.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

# From the roof down: a room may import those below it only.
ROOMS = [
    "__main__",
    "cli",
    "__init__",
    "handlers",
    "base",
    "copies",
    "control",
    "logfile",
    "background",
    "worker",
    "upkeep",
    "compressor",
    "anew",
    "reopening",
    "exclusive",
    "plain",
    "fragments",
    "kept",
    "files",
    "view",
    "links",
    "rotation",
    "timetable",
    "agreement",
    "backups",
    "sealing",
    "pages",
    "drafts",
    "lock",
    "state",
    "compression",
    "commands",
    "packing",
    "settings",
    "registry",
    "schedule",
    "retention",
    "naming",
    "units",
    "filesystem",
    "_posix",
    "system",
]
PURE = {"naming", "retention", "schedule", "units"}
KNOW_LOGGING = {"__init__", "handlers", "base", "copies", "cli"}
LONGEST_FILE = 490
LONGEST_FUNCTION = 40
# Long for the one reason that 0.9.x has so many arguments.
LONG_FUNCTIONS = {
    "handlers.ConcurrentRotatingFileHandler.__init__",
    "handlers.ConcurrentTimedRotatingFileHandler.__init__",
}


def room_of(path: Path) -> str:
    """Return the room that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].replace(".py", "")


SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Set[str]:
    """Return the modules that a file imports, anywhere in it."""
    modules: Set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module or "")
    return modules


def test_every_room_is_in_the_picture() -> None:
    assert {room_of(path) for path in SOURCES} == set(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for module in imported(path):
        top, _, rest = module.partition(".")
        if top == PACKAGE.name:
            target = rest.split(".")[0] or "__init__"
            assert target == room or ROOMS.index(target) > ROOMS.index(room), f"{room} imports {target}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_handlers_know_logging(path: Path) -> None:
    if room_of(path) not in KNOW_LOGGING:
        assert not {module for module in imported(path) if module.split(".")[0] == "logging"}


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_touch_neither_the_system_nor_the_clock(room: str) -> None:
    path = PACKAGE / f"{room}.py"
    assert imported(path) <= {"contextlib", "datetime", "os.path", "re", "typing"}
    asked = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert not asked & {
        "time_ns",
        "monotonic",
        "now",
        "today",
        "utcnow",
        "exists",
        "isfile",
        "lexists",
        "realpath",
    }


@pytest.mark.skipif(sys.version_info < (3, 8), reason="no syntax tree tells before 3.8 where a function ends")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_is_crowded(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    for name, node in functions(ast.parse(source), path.stem):
        doc = ast.get_docstring(node)
        lines = (node.end_lineno or 0) - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
        assert lines <= LONGEST_FUNCTION or name in LONG_FUNCTIONS, f"{name}: {lines} lines"


def functions(tree: ast.AST, prefix: str) -> Iterator["tuple[str, ast.FunctionDef]"]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}.{node.name}")
        elif isinstance(node, ast.FunctionDef):
            yield f"{prefix}.{node.name}", node


def test_the_picture_in_the_documentation_is_this_one() -> None:
    """The list of rooms in ARCHITECTURE.md has every room, in this order."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = re.findall(r"^    (\w+?)(?:\.py|/) ", text, flags=re.MULTILINE)
    assert listed == ROOMS[1:]
