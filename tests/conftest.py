"""Fixtures that tests of several folders use."""

from pathlib import Path
from typing import Iterator

import pytest

from support.children import Children


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return the path of a log that has its folder to itself."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "app.log"


@pytest.fixture
def children() -> Iterator[Children]:
    """Start processes that end with the test."""
    started = Children()
    yield started
    started.kill()
