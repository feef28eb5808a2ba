"""The comments of a class's fields, from its source: docs/config.md and docs/models.md show them."""

from __future__ import annotations

import inspect
import re
from typing import Any


def field_comments(owner: Any) -> dict[str, str]:
    """The source comment of each field, including inherited ones: after it on the same line, or in the lines above."""
    found, above = {}, []
    classes = [one for one in reversed(owner.__mro__) if one.__module__ == owner.__module__]
    for line in "".join(map(inspect.getsource, classes)).splitlines():
        if comment := re.fullmatch(r"    # (.*)", line):
            above.append(comment[1])
            continue
        if field := re.match(r"    (\w+): ", line):
            behind = re.search(r"  # (?!noqa)(.*)$", line)
            found[field[1]] = " ".join([*above, *([behind[1]] if behind else [])])
        above = []
    return found
