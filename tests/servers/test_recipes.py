"""The document of the recipes as a whole."""

import re
from pathlib import Path

from support.recipes import DOCUMENT, sections

TESTS = Path(__file__).parent


def test_each_recipe_is_cooked_by_a_test() -> None:
    tests = "".join(each.read_text(encoding="utf-8") for each in TESTS.glob("test_*.py"))
    cooked = set(re.findall(r'cook\("([^"]+)"', tests))
    assert set(sections()) == cooked


def test_the_table_of_contents_leads_to_each_of_them() -> None:
    links = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    anchors = [re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in sections()]
    assert links == list(zip(sections(), anchors))
