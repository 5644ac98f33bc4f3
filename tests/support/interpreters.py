"""The Pythons at hand: that which runs the tests, and all others that this package has to run on.

They are looked for among pyenv's versions, on PATH, and at the paths in CLH_PYTHONS.
"""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple

from support.programs import run_program

OLDEST = (3, 6)
NAMES = re.compile(r"(python|pypy)3(\.[0-9]+t?)?")
"""What they are called on PATH."""
PROBE = (
    "import json, platform, sys, sysconfig; "
    "free = bool(sysconfig.get_config_var('Py_GIL_DISABLED')); "
    "name = platform.python_implementation() + '-' + platform.python_version() + 't' * free; "
    "print(json.dumps([name, sys.version, sys.version_info[:2], free]))"
)


class Interpreter(NamedTuple):
    """A Python that can be started."""

    path: Path
    name: str
    """Such as "CPython-3.13.0", "CPython-3.13.0t" for a free-threaded build."""
    build: str
    """What two copies of the same Python have in common, and two builds have not."""
    version: Tuple[int, int]
    free_threaded: bool


@functools.lru_cache(maxsize=None)
def interpreters() -> List[Interpreter]:
    """Return each Python at hand once, the running one first."""
    found: List[Interpreter] = []
    for path in _candidates():
        interpreter = _probed(path)
        if interpreter is not None and interpreter.build not in {each.build for each in found}:
            found.append(interpreter)
    return found


def _candidates() -> Iterator[Path]:
    """Yield all paths that look like one; of several that lead to the same file, the first."""
    seen: Set[Path] = set()
    for path in _paths():
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def _paths() -> Iterator[Path]:
    yield Path(sys.executable)
    yield from (Path(each) for each in os.environ.get("CLH_PYTHONS", "").split(os.pathsep) if each)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/*/bin/python"))  # of PyPy, too
    for directory in map(Path, os.get_exec_path()):
        if directory != pyenv / "shims":  # each a slow way to one of the versions above, or to nothing
            paths = [*directory.glob("python3*"), *directory.glob("pypy3*")]
            yield from sorted(path for path in paths if NAMES.fullmatch(path.name) and path.is_file())


def _probed(path: Path) -> Optional[Interpreter]:
    """Return what it says of itself; None if it does not run, or is too old."""
    # -I came with 3.4: older ones refuse it.
    command = [str(path), "-I", "-S", "-c", PROBE]
    try:
        ended = run_program(command, timeout=30)
        name, build, version, free_threaded = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = Interpreter(path, name, build, tuple(version), free_threaded)
    return found if found.version >= OLDEST else None
