"""Each entry of docs/coming_from.md's column "here" is a key, a command or a call that exists."""

from __future__ import annotations

import ast
import inspect
import re
import shlex

import pytest

import paddlecnn as pc
from helpers.docs import ROOT
from paddlecnn.api import Run
from paddlecnn.configfile import load_config

BASE = {"data": {"name": "digits"}, "model": {"name": "lenet5"}, "train": {"epochs": 1}}
ROWS = [
    line.split(" | ")[-1] for line in (ROOT / "docs/coming_from.md").read_text("utf-8").splitlines() if "| " in line
]
HERE = [code for row in ROWS for code in re.findall(r"`([^`]+)`", row)]


def test_most_tasks_have_an_entry():
    assert len(HERE) > 50


@pytest.mark.parametrize("code", [code for code in HERE if code.startswith("-o ")])
def test_a_key_is_one_of_a_config(code):
    words = shlex.split(code)
    assert set(words[::2]) == {"-o"}
    load_config(BASE, words[1::2])


@pytest.mark.parametrize("code", [code for code in HERE if code.startswith("paddlecnn ")])
def test_a_command_has_the_options(tool, capsys, code):
    name, *arguments = shlex.split(code)[1:]
    assert tool(name, *arguments, "--help") == 0  # values behind options are checked before the help is shown
    shown = re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out)
    assert {word for word in arguments if word.startswith("-")} <= set(shown)


@pytest.mark.parametrize("code", [code for code in HERE if code.startswith(("pc.", "run."))])
def test_a_call_is_one_of_the_interface(code):
    node = ast.parse(code, mode="eval").body
    attribute = node.func if isinstance(node, ast.Call) else node
    found = getattr({"pc": pc, "run": Run}[attribute.value.id], attribute.attr)
    if isinstance(node, ast.Call):
        own = [None] if attribute.value.id == "run" else []
        inspect.signature(found).bind(*own, *node.args, **{word.arg: word.value for word in node.keywords})


def test_nothing_else_is_code_but_names_and_files():
    others = {code for code in HERE if not code.startswith(("-o ", "paddlecnn ", "pc.", "run."))}
    assert others <= {"here"}
