"""A page and its translation side by side: commands, tables, numbers, code names, formulas and links must agree."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from helpers.docs import ROOT

LANGUAGE = re.compile(r"(?<=/)zh/|\.zh-CN(?=\.md)")  # what a path of the Chinese pages has in addition
STARTS = re.compile(r"```|#{1,6} |\||- |\d\. ")  # lines that begin a block without a blank line before them
COMMENT = re.compile(r"(^|\s+)#(\s.*)?$", flags=re.M)
EXACT = (r"\$\$.+?\$\$", r"\$[^$\n]+\$", r"`[^`\n]+`")  # formulas and code, which are the same in every language
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d+(?:[,.]\d+)*")


class Block(NamedTuple):
    """A piece of a page that is translated as a whole."""

    place: str  # README.md:12, or 01_alexnet.ipynb, cell 3
    kind: str  # a heading's marks, ``` for code, | for a row of a table, the mark of a list item, or nothing
    text: str

    @property
    def content(self) -> Counter[str]:
        """The part that a translation leaves unchanged: lines of code, or code names, numbers, formulas and links."""
        if self.kind == "```" or all(line.startswith("    ") for line in self.text.splitlines()):
            return Counter(line.rstrip() for line in COMMENT.sub("", self.text).splitlines() if line.strip())
        text, found = self.text, Counter[str]()
        for pattern in EXACT:
            found.update(" ".join(match.split()) for match in re.findall(pattern, text, flags=re.S))
            text = re.sub(pattern, " ", text, flags=re.S)
        found.update(f"]({self.target(link)})" for link in LINK.findall(text))
        text = LINK.sub("]", text)
        found.update(NUMBER.findall(text))
        if self.kind == "|":
            found[f"{text.count('|')} |"] += 1
        return found

    def target(self, link: str) -> str:
        """A link's address; of a page in the repository its path, that of a Chinese page as its English one's."""
        path = link.partition("#")[0]
        if re.match(r"https?:", link) or not path:
            return link if path else "#"
        page = ROOT / re.split(r":\d|, ", self.place)[0]
        return LANGUAGE.sub("", str((page.parent / path).resolve().relative_to(ROOT)))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, or of the text cells of a notebook, in order."""
    name = str(page.relative_to(ROOT))
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return [Block(f"{name}:{line}", kind, block) for line, kind, block in pieces(text)]
    cells = json.loads(text)["cells"]
    return [
        Block(f"{name}, cell {number}", kind, block)
        for number, cell in enumerate(cells)
        if cell["cell_type"] == "markdown"
        for _, kind, block in pieces("".join(cell["source"]))
    ]


def pieces(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, kind, text) of each block."""
    lines = text.splitlines()
    first = 0
    while first < len(lines):
        if not lines[first].strip():
            first += 1
            continue
        start = STARTS.match(lines[first])
        kind, last = start[0].strip() if start else "", first + 1
        if kind == "```":
            last = lines.index("```", last) + 1
        elif kind != "|" and not kind.startswith("#"):
            while last < len(lines) and lines[last].strip() and not STARTS.match(lines[last]):
                last += 1
        yield first + 1, kind, "\n".join(lines[first:last])
        first = last


def differences(english: list[Block], chinese: list[Block]) -> list[str]:
    """A paragraph for each block of one page that has no counterpart in the other; [] if the pages agree."""
    ours, theirs = ([(block.kind, frozenset(block.content.items())) for block in page] for page in (english, chinese))
    return [
        difference(one, other)
        for tag, *(first, last, start, end) in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
        if tag != "equal"
        for one, other in zip_longest(english[first:last], chinese[start:end])
    ]


def difference(one: Block | None, other: Block | None) -> str:
    """The parts of two blocks that differ; a block without a counterpart as a whole."""
    if one is None or other is None:
        block = one or other
        assert block
        return f"{block.place}: has no counterpart\n{block.text}"
    pairs = ((one, one.content - other.content), (other, other.content - one.content))
    only = [f"only in {block.place}: {sorted(rest.elements())}" for block, rest in pairs]
    return "\n".join([*only, one.text, "--- and ---", other.text])


def code_differences(english: Path, chinese: Path) -> list[str]:
    """A paragraph for each cell of the Chinese notebook with another kind, code or output; comments are free."""
    books = [json.loads(path.read_text(encoding="utf-8"))["cells"] for path in (english, chinese)]
    found: list[str] = []
    for number, pair in enumerate(zip_longest(*books)):
        where = f"{chinese.relative_to(ROOT)}, cell {number}"
        kinds = [cell and cell["cell_type"] for cell in pair]
        if kinds[0] != kinds[1]:
            return [*found, f"{where}: is {kinds[1]}, in the English notebook {kinds[0]}"]
        if kinds[0] == "code":
            one, other = ("".join(cell["source"]) for cell in pair)
            if ast.dump(ast.parse(one)) != ast.dump(ast.parse(other)):
                found.append(f"{where}: other code\n{one}\n--- and ---\n{other}")
            elif pair[0]["outputs"] != pair[1]["outputs"]:
                found.append(f"{where}: other output; run python docs/pages.py")
    return found
