"""The notebooks are complete and their links work; `make docs-test` runs them, this checks what needs no kernel."""

from __future__ import annotations

import ast
import importlib
import json
import re

import pytest

from helpers.docs import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_and_installs_links_and_answers(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for block in code:
        ast.parse(block)
    for place in ("/kaggle/working", "/content", "/home/aistudio/work"):
        assert place in code[0]
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("http") or (path.parent / target).exists(), target
    questions, answers = text.split("## Exercises")[1].split("**Answers**")
    numbers = re.findall(r"^(\d)\. ", questions, flags=re.M)
    assert numbers
    assert re.findall(r"^(\d)\. ", answers, flags=re.M) == numbers
    assert not [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_from_the_package_exists(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    for node in (node for block in code for node in ast.walk(block) if isinstance(node, ast.ImportFrom)):
        if node.module.startswith("paddlecnn"):
            module = importlib.import_module(node.module)
            assert not [name.name for name in node.names if not hasattr(module, name.name)], node.module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_cell_shows_is_what_the_code_shows_today(path):
    """For the cells that only import and show a value; `make docs-test` runs the others."""
    names: dict = {}
    compared = 0
    for cell in (cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"):
        *imports, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module([one for one in (*imports, last) if is_import(one)], []), path.name, "exec"), names)
        shown = [one["data"]["text/plain"] for one in cell["outputs"] if one["output_type"] == "execute_result"]
        if shown and all(map(is_import, imports)) and free_names(last) <= names.keys():
            value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            assert "".join("".join(shown[0]).split()) == "".join(repr(value).split())
            compared += 1
    assert compared


def is_import(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def free_names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
