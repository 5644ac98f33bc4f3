"""The recipes of the documentation, taken out of it word for word: what is tested is what users copy."""

import re
from pathlib import Path
from typing import Dict, Mapping

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"

SECTION = re.compile(r"^## (?P<title>.*)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
# In front of a file stands its name.
BLOCK = re.compile(r"^`(?P<name>[^`\n]+)`:\n\n```[a-z]+\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> Dict[str, str]:
    """Return the text below each title."""
    return {each["title"]: each["text"] for each in SECTION.finditer(DOCUMENT.read_text(encoding="utf-8"))}


def recipe(title: str) -> Dict[str, str]:
    """Return the files of a recipe, by name."""
    return {each["name"]: each["content"] for each in BLOCK.finditer(sections()[title])}


def cook(title: str, home: Path, changes: Mapping[str, str]) -> None:
    """Write the files of a recipe, with what a test has to change.

    Each text that it changes has to be there: else it would go by a recipe that nobody reads.
    """
    files = recipe(title)
    assert files, f"{title}: no files"
    whole = "".join(files.values())
    assert [each for each in changes if each not in whole] == []
    for name, content in files.items():
        for old, new in changes.items():
            content = content.replace(old, new)  # noqa: PLW2901 - one change after the other
        (home / name).write_text(content, encoding="utf-8")
