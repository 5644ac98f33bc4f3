"""Fixtures that tests of several files here use."""

from collections import Counter
from pathlib import Path
from typing import Dict, List

import pytest

from concurrent_log_handler.cli.reckoning import Key, read_records
from hostile.surroundings import Found, Precious


@pytest.fixture
def precious(tmp_path: Path) -> Precious:
    """Return a file that nothing must happen to."""
    return Precious(tmp_path / "precious")


@pytest.fixture
def found(live: Path) -> Found:
    """Return what counts the records in the plain files of the log, whatever their names are, and pieces of such."""

    def count() -> Dict[Key, int]:
        keys: List[Key] = []
        for each in live.parent.glob("app.log*"):
            if each.is_file() and not each.is_symlink():
                with each.open("rb") as stream:
                    keys += (key for _, key in read_records(stream))
        return dict(Counter(keys))

    return count
