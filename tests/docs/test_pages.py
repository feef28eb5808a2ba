"""The pages generated from the code agree with it, and the site builds without a warning."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paddlecnn as pc
from helpers.docs import ROOT
from paddlecnn.config import Config
from paddlecnn.config_errors import key_paths


@pytest.fixture(scope="module")
def pages():
    """docs/pages.py as a module."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHINESE = [f"notebooks/zh/{path.name}" for path in (ROOT / "docs/notebooks").glob("*.ipynb")]


@pytest.mark.parametrize("name", ["config.md", "images/architecture.svg", "index.md", *CHINESE])
def test_the_page_is_what_the_code_generates(pages, name):
    if name.endswith(".svg"):
        pytest.importorskip("grimp", reason="the picture of the imports needs grimp (extra lint or docs)")
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == pages.PAGES[name](), "run python docs/pages.py"


def test_the_page_of_keys_has_every_key_of_the_schema(pages):
    text = pages.config_page()
    for key in key_paths(Config):
        assert f"| `{key}` |" in text


def test_the_page_explains_an_inherited_key_wherever_it_stands(pages):
    rows = [line for line in pages.config_page().splitlines() if line.startswith("| `optim.schedule.warmup` ")]
    assert len(rows) == 7
    assert all("rises linearly from 0" in row for row in rows)


def test_the_api_reference_has_the_python_interface():
    """Also where MkDocs is not installed. Under the name of an import, the site would show less than the module."""
    tree = ast.parse((ROOT / "docs/site_hooks.py").read_text(encoding="utf-8"))
    (table,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "REFERENCE")
    listed = {name for names in ast.literal_eval(table).values() for name in names}
    for name in listed:
        module, _, member = name.rpartition(".")
        source = file_of(module).read_text(encoding="utf-8") if file_of(module).exists() else ""
        assert file_of(name).exists() or re.search(rf"^(def|class) {member}\b", source, flags=re.M), name
    for name in pc.__all__:
        found = getattr(pc, name)
        assert {found.__module__, f"{found.__module__}.{found.__name__}"} & listed, name


def file_of(module: str) -> Path:
    folder = ROOT / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def test_the_site_builds_without_warnings_and_every_link_in_it_leads_somewhere(tmp_path):
    pytest.importorskip("mkdocstrings", reason="the site needs the extra docs: pip install -e '.[docs]'")
    for name in ("docs", "paddlecnn"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING -" not in done.stderr
    site = tmp_path / "build/site"
    reference = (site / "reference.html").read_text(encoding="utf-8")
    assert "paddlecnn.training.state.TrainState" in reference
    assert 'href="site.css"' in reference  # without it, the arguments in a docstring run together
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:href|src)=[\"']?([^\"'\s>]+)", text):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:|//", target) or page.name == "404.html":
                continue
            other = (page.parent / path.partition("?")[0]).resolve() if path else page
            assert other.exists(), f"{page.name} links to {target}"
            if anchor and other.suffix == ".html" and not anchor.startswith("__"):
                ids = re.findall(r"(?:id|name)=[\"']?([^\"'\s>]+)", other.read_text(encoding="utf-8"))
                assert anchor in ids, f"{page.name} links to {target}"
