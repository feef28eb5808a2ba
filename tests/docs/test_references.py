"""Everything that the documentation names exists: files, links, configs, commands and their options."""

from __future__ import annotations

import json
import re
import shlex
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from helpers.docs import ROOT, code_blocks
from paddlecnn.__main__ import COMMANDS
from paddlecnn.configfile import load_config
from paddlecnn.kaggle.competitions import REDUX

PAGES = sorted([*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(
    [*(ROOT / "paddlecnn").rglob("*.py"), *(ROOT / "tools").glob("*.py"), *(ROOT / "configs").rglob("*.yaml"), *PAGES]
)
# Folders and files of the repository, written with their path. What a command creates lies elsewhere (runs/, data/).
NAMED = re.compile(r"(?<![\w/.-])((?:paddlecnn|tools|configs|docs|tests)/[\w./-]*\w)")


@cache
def options_of(command: str) -> set[str]:
    """The options in a command's --help."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{command.replace('-', '_')}.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))


def test_the_readme_names_the_medal_of_its_first_row():
    records = [one for path in (ROOT / "docs" / "results").glob("*.json") for one in json.loads(path.read_text())]
    folds = [one for one in records if one.get("what") == "folds" and one["data"] == "dogs_vs_cats"]
    record = max(folds, key=lambda one: (one["n"], one["seconds"], one["tta"] == "flip"))
    loss = record["log_loss_calibrated"]
    gold = REDUX.reference_scores[0][0]
    assert REDUX.reached(loss["mean"]).startswith("gold medal")
    assert loss["low"] < gold < loss["high"]
    for name, images, medal, contains in (
        (
            "README.md",
            "measured on {:,} labelled photographs",
            "below the gold line of the competition, {:.4f}",
            "its interval contains that line",
        ),
        ("README.zh-CN.md", "{:,} 张带标签照片", "低于该竞赛的金牌线 {:.4f}", "其置信区间包含这条线"),
    ):
        text = " ".join((ROOT / name).read_text().split())
        assert images.format(record["n"]) in text
        assert medal.format(gold) in text
        assert contains in text


def test_what_the_readme_says_about_lrn():
    found: dict[str, dict[int, float]] = {"alexnet_cifar": {}, "alexnet_cifar_lrn": {}}
    for path in (ROOT / "docs" / "results").glob("cifar10_tutorial_paddle_alexnet*.json"):
        _, record = json.loads(path.read_text())
        found[record["model"]][record["seed"]] = record["test"]["top1"]
    plain, normalised = found.values()
    assert plain.keys() == normalised.keys() == {0, 1, 2}
    interval = ttest_rel(
        [normalised[seed] for seed in range(3)], [plain[seed] for seed in range(3)]
    ).confidence_interval()
    assert interval.low < 0 < interval.high
    for name in ("README.md", "README.zh-CN.md"):
        assert "docs/results.md#local-response-normalisation" in (ROOT / name).read_text()


def test_the_time_of_a_first_training_is_the_recorded_one():
    records = [
        json.loads(path.read_text())[1] for path in (ROOT / "docs/results").glob("cifar10_alexnet_lrn_10*_float32_*")
    ]
    assert {(one["config_file"], one["epochs"]) for one in records} == {("configs/cifar10/alexnet_lrn.yaml", 10)}
    minutes = statistics.median(one["seconds"] for one in records) / 60
    for name, text in (
        ("README.md", f"took a median of {minutes:.0f} minutes"),
        ("README.zh-CN.md", f"为 {minutes:.0f} 分钟"),
    ):
        assert text in (ROOT / name).read_text(encoding="utf-8")


def paths_in(text: str) -> list[str]:
    """The paths of the repository that a text names, except placeholders such as tools/NAME.py."""
    return [path for path in NAMED.findall(text) if "..." not in path and "NAME" not in path]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_every_path_that_is_named_exists(source):
    for path in paths_in(source.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{named(source)} names {path}"


def headings_of(page: Path) -> set[str]:
    """The headings of a page as they are written in links: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_to_a_page_or_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            path, _, heading = target.partition("#")
            other = page.parent / path if path else page
            assert other.exists(), f"{named(page)} links to {target}"
            assert not heading or heading in headings_of(other), f"{named(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_list_or_a_table_after_code_begins_after_a_blank_line(page):
    """GitHub shows it in any case; the site of `make docs` would show one paragraph."""
    assert not re.findall(r"^```\n(?:- |\* |\d+\. |\|).*", page.read_text(encoding="utf-8"), flags=re.M)


def command_lines(page: Path) -> list[list[str]]:
    """The words of each line of the page's shell blocks that runs one of our commands."""
    lines = [line for block in code_blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [
        words
        for line in lines
        if (words := shlex.split(line, comments=True))
        if "paddlecnn" in words[0] or any(word.startswith("tools/") for word in words)
    ]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_line_names_real_commands_options_and_configs(page):
    for words in command_lines(page):
        if words[0] == "paddlecnn":
            command, arguments = words[1], words[2:]
        else:
            place = next(number for number, word in enumerate(words) if word.startswith("tools/"))
            command, arguments = Path(words[place]).stem.replace("_", "-"), words[place + 1 :]
        assert command in COMMANDS, words
        for argument in arguments:
            if argument.startswith("-") and not argument.lstrip("-")[:1].isdigit():
                assert argument.partition("=")[0] in options_of(command), f"{command} has no {argument} ({named(page)})"
            if argument.startswith("configs/"):
                load_config(ROOT / argument)


def test_the_readme_lists_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)[ `]", text, flags=re.M)) == set(COMMANDS)


def test_every_page_is_linked_from_the_readme():
    links = set(re.findall(r"\]\((docs/[^)]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert links == {named(page) for page in PAGES if page.is_relative_to(ROOT / "docs") and page.name != "index.md"}


@pytest.mark.parametrize("command", COMMANDS)
def test_paths_in_help_texts_exist(command):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{command.replace('-', '_')}.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for path in paths_in(done.stdout):
        assert (ROOT / path).exists(), path
