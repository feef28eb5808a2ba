"""The Chinese pages have the commands, tables and numbers of the English ones; text in between is free."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from helpers.docs import ROOT
from helpers.translations import Block, blocks, code_differences, differences

NOTEBOOKS = [path.name for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))]
PAIRS = {
    "README.md": "README.zh-CN.md",
    "docs/gpu.md": "docs/zh/gpu.md",
    "docs/kaggle.md": "docs/zh/kaggle.md",
    **{f"docs/notebooks/{name}": f"docs/notebooks/zh/{name}" for name in NOTEBOOKS},
}


@pytest.mark.parametrize("english", PAIRS)
def test_the_chinese_page_has_the_commands_tables_and_numbers_of_the_english_one(english):
    found = differences(blocks(ROOT / english), blocks(ROOT / PAIRS[english]))
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_chinese_notebook_has_the_code_and_the_output_of_the_english_one(name):
    found = code_differences(ROOT / "docs/notebooks" / name, ROOT / "docs/notebooks/zh" / name)
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items())
def test_the_two_pages_link_to_each_other_and_every_link_leads_somewhere(english, chinese):
    for page, other in ((english, chinese), (chinese, english)):
        text = "\n".join(block.text for block in blocks(ROOT / page))
        targets = {
            (ROOT / page).parent / target.partition("#")[0]
            for target in re.findall(r"\]\(([^)\s]+)\)", text)
            if not target.startswith(("http://", "https://"))
        }
        assert not [str(target) for target in targets if not target.exists()]
        assert (ROOT / other).resolve() in {target.resolve() for target in targets}


@pytest.mark.parametrize("page", PAIRS.values())
def test_the_text_is_chinese(page):
    prose = [
        block
        for block in blocks(ROOT / page)
        if not block.kind and not block.text.startswith(("    ", "!", "<!--", "$"))
    ]
    assert prose
    for block in prose:
        assert re.search("[\u4e00-\u9fff]|\\]\\(", block.text), f"{block.place} is not translated: {block.text}"


PAGE = """# A page
Text with `code`, 3.11 and [a link](docs/models.md).

```sh
make test   # a comment
make bench
```

## A part
| a | b |
|---|---|
| `x` | 94.0 |

1. $x^2$
- item
"""
CHANGES = {  # what is replaced, by what, and the line of the block
    "number": ("3.11", "3.12", 2),
    "code": ("`code`", "`codes`", 2),
    "link": ("docs/models.md", "docs/data.md", 2),
    "command": ("make test ", "make wheel ", 4),
    "a command less": ("make bench\n", "", 4),
    "heading": ("## A part\n", "", 9),
    "heading's level": ("## A", "### A", 9),
    "cell": ("94.0", "94.1", 12),
    "row": ("| `x` | 94.0 |\n", "", 12),
    "column": ("| a | b |", "| a |", 10),
    "formula": ("x^2", "x^3", 14),
    "item": ("- item\n", "", 15),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_on_one_side_is_found_and_named(tmp_path, monkeypatch, change):
    monkeypatch.setattr("helpers.translations.ROOT", tmp_path)
    before, after, line = CHANGES[change]
    assert PAGE.count(before) == 1
    for name, text in (("a.md", PAGE), ("b.md", PAGE.replace(before, after))):
        (tmp_path / name).write_text(text)
    (found,) = differences(blocks(tmp_path / "a.md"), blocks(tmp_path / "b.md"))
    assert f"a.md:{line}" in found
    assert f"b.md:{line}" in found or "has no counterpart" in found


def test_a_new_paragraph_is_named_and_those_after_it_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.translations.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(PAGE.replace("## A part", "New, with 2 numbers: 7.\n\n## A part"))
    (tmp_path / "b.md").write_text(PAGE)
    (found,) = differences(blocks(tmp_path / "a.md"), blocks(tmp_path / "b.md"))
    assert found == "a.md:9: has no counterpart\nNew, with 2 numbers: 7."


def test_comments_and_prose_are_free():
    english = [
        Block("README.md:1", "```", "```sh\nmake test  # run the tests\n```"),
        Block("README.md:5", "", "Run it."),
    ]
    chinese = [Block("README.md:1", "```", "```sh\nmake test  # 运行测试\n```"), Block("README.md:5", "", "运行。")]
    assert differences(english, chinese) == []


def test_other_code_and_other_output_in_a_notebook_are_found(tmp_path, monkeypatch):
    source = json.loads((ROOT / "docs/notebooks/02_vgg.ipynb").read_text(encoding="utf-8"))
    cell = next(cell for cell in source["cells"] if cell.get("outputs"))
    paths: list[Path] = []
    for name, code, outputs in (
        ("a", "x = 1  # one", []),
        ("b", "x = 1  # 一", []),
        ("c", "x = 2", []),
        ("d", "x = 1", cell["outputs"]),
    ):
        paths.append(tmp_path / f"{name}.ipynb")
        paths[-1].write_text(json.dumps({"cells": [{"cell_type": "code", "source": [code], "outputs": outputs}]}))
    monkeypatch.setattr("helpers.translations.ROOT", tmp_path)
    assert code_differences(paths[0], paths[1]) == []
    assert "c.ipynb, cell 0: other code" in code_differences(paths[0], paths[2])[0]
    assert "d.ipynb, cell 0: other output" in code_differences(paths[0], paths[3])[0]
