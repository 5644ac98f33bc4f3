"""Sizes, ages and times of day as people write them into configuration files.

    "10 MB"  "1.5 GB"  "512 KiB"  "1048576"     bytes
    "7 days"  "1 week"  "36 h"  "1 day 12 hours"    seconds
    "02:30"  "23:59:30"                             a time of day

Upper and lower case are the same, and the space may be left out. kB, MB, GB and TB are powers of 1,000, as are
their letters alone, KiB and so on powers of 1,024 (IEC 80000-13). There are no months and no years, whose
length nobody knows.
"""

import datetime as dt
import re
from typing import Mapping, Optional

NUMBER = r"([0-9][0-9_]*(?:\.[0-9]+)?)"
UNIT = r"([a-z]*)"

PREFIXES = ("k", "m", "g", "t")
SIZES = {
    **dict.fromkeys(("", "b", "byte", "bytes"), 1),
    **{prefix + end: 1000**power for power, prefix in enumerate(PREFIXES, 1) for end in ("", "b")},
    **{prefix + "ib": 1024**power for power, prefix in enumerate(PREFIXES, 1)},
}
AGES = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}


def size_of(text: str) -> Optional[float]:
    """Return the bytes that a text means, None if it means none."""
    return _quantity(text, SIZES)


def age_of(text: str) -> Optional[float]:
    """Return the seconds that a text means, given in one unit or in several, None if it means none."""
    parts = re.findall(r"[0-9._]+\s*[a-z]+", text.lower())
    if len(parts) < 2 or re.sub(r"[\s,]", "", text.lower()) != re.sub(r"\s", "", "".join(parts)):  # noqa: PLR2004
        return _quantity(text, AGES)
    ages = [_quantity(part, AGES) for part in parts]
    return None if None in ages else sum(age for age in ages if age is not None)


def time_of_day(text: str) -> Optional[dt.time]:
    """Return the time of day that a text means, None if it means none."""
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", text.strip())
    if found is None:
        return None
    try:
        hour, minute, second = (int(part or 0) for part in found.groups())
        return dt.time(hour, minute, second)
    except ValueError:
        return None


def _quantity(text: str, units: Mapping[str, int]) -> Optional[float]:
    found = re.fullmatch(NUMBER + r"\s*" + UNIT, text.strip().lower())
    if found is None or found.group(2) not in units:
        return None
    number, unit = found.group(1).replace("_", ""), units[found.group(2)]
    return round(float(number) * unit, 6) if "." in number else int(number) * unit
