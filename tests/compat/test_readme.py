"""The examples of README are run, each in a process and a directory of its own."""

import re
import sys
from pathlib import Path

import pytest

from support.programs import run_program

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
SYSTEM_DIRECTORY = "/var/log/shop/"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_without_a_warning(tmp_path: Path, example: str) -> None:
    code = example.replace(SYSTEM_DIRECTORY, "")
    code += "import logging.config\n"
    code += "if 'LOGGING' in vars(): logging.config.dictConfig(LOGGING)\n"
    code += "else: logging.root.addHandler(handler)\n"
    code += "logging.getLogger('shop').error('closed')\n"
    done = run_program([sys.executable, "-W", "error", "-c", code], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "closed\n" in (tmp_path / "app.log").read_text(encoding="utf-8")
