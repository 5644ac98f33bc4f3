"""A place to run a server from, and servers that end with the test."""

import shutil
from pathlib import Path
from typing import Iterator

import pytest

from support.servers import Servers

SHOP = Path(__file__).parent / "shop"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the directory that a server is started in; the shop is there, and the log will be in `logs`."""
    home = tmp_path / "home"
    shutil.copytree(SHOP, home / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "logs").mkdir()
    return home


@pytest.fixture
def servers(home: Path) -> Iterator[Servers]:
    """Start servers in the home."""
    started = Servers(home)
    yield started
    started.kill()
