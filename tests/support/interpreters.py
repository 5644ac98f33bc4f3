"""The Pythons at hand: that which runs the tests, and all others that this package has to run on."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Set

OLDEST = [3, 6]
PROBE = (
    "import json, platform, sys; "
    "name = platform.python_implementation() + '-' + platform.python_version(); "
    "print(json.dumps([name, list(sys.version_info[:2]), sys.version]))"
)


class Interpreter(NamedTuple):
    """A Python that can be started."""

    path: Path
    name: str
    """Such as "CPython-3.13.0"."""
    build: str
    """What two copies of the same Python have in common, and two builds have not."""


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
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/*/bin/python"))
    for directory in map(Path, os.get_exec_path()):
        if directory != pyenv / "shims":  # each a slow way to one of the versions above, or to nothing
            names = sorted(each for each in directory.glob("python3*") if each.is_file())
            yield from (path for path in names if re.fullmatch(r"python3(\.[0-9]+t?)?", path.name))


def _probed(path: Path) -> Optional[Interpreter]:
    """Return what it says of itself; None if it does not run, or is too old."""
    # -I came with 3.4: older ones refuse it.
    command = [str(path), "-I", "-S", "-c", PROBE]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        name, version, build = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(path, name, build) if version >= OLDEST else None
