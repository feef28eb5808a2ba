"""The figures of docs/results.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from helpers.results import NETWORKS, fold, tops
from paddlecnn.reporting.results_drawings import drawings


def test_published_accuracies_stand_beside_ours_in_a_figure(project, add, tool):
    path = Path("docs/images/results_published.png")
    assert [add(NETWORKS[0], seed) for seed in (0, 1)] == [0, 0]
    assert not path.exists()
    assert path.name not in Path("docs/results.md").read_text()
    for seed, name in enumerate(("cifar10/lenet5", "cifar10/alexnet_best")):
        file = Path(f"docs/results/{NETWORKS[0]}_seed{seed}.json")
        machine, record = json.loads(file.read_text())
        record["config"]["optim"]["lr"] = 0.1 + seed
        file.write_text(json.dumps([machine, record | {"config_file": f"configs/{name}.yaml"}]))
    assert tool("results", "docs/results") == 0
    assert f"](images/{path.name})" in Path("docs/results.md").read_text()
    assert path.stat().st_size > 5000
    figure = drawings(Path("docs/results"))[path]()
    published, ours = zip(*([text.get_text() for text in axes.texts] for axes in figure.axes), strict=True)
    assert published == ("60.00%", "77.22%")
    for text, accuracy in zip(ours, tops(NETWORKS[0]), strict=True):
        assert text.startswith(f"{accuracy:.2%} (")
    (legend,) = figure.legends
    labels = [" ".join(text.get_text().split()) for text in legend.get_texts()]
    assert len(labels) == 3
    assert (
        "published; epoch chosen on test images: not stated; the script keeps the epoch that is best on test" in labels
    )
    figure.draw_without_rendering()
    for text in [*legend.get_texts(), *(text for axes in figure.axes for text in (axes._left_title, *axes.texts))]:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text


def test_a_figure_of_accuracies_out_of_fold_and_on_validation_images(project, tool, tiny):
    options = ["-o", "data.limit=64", "-o", "train.epochs=1", "-o", "train.monitor=last"]
    assert tool("train", "-c", tiny, "--run", "runs/last", *options) == 0
    assert tool("results", "docs/results", "--add", "runs/last", "--out", "docs/results/last.json") == 0
    machine, record = json.loads(Path("docs/results/last.json").read_text())
    Path("docs/results/folds.json").write_text(json.dumps([machine, record | fold(0.8, n=1200)]))
    assert tool("results", "docs/results") == 0
    (image,) = re.findall(r"\]\((images/[^)]+_time.png)\)", Path("docs/results.md").read_text())
    assert (Path("docs") / image).stat().st_size > 5000
    (legend,) = drawings(Path("docs/results"))[Path("docs") / image]().legends
    shown = [text.get_text().partition(", ")[2] for text in legend.get_texts()]
    assert shown == ["1 epochs, 1,200 out of fold", f"1 epochs, {record['val']['n']} for validation"]


def test_a_run_that_has_only_begun_is_in_no_figure_against_time(project, add, tool):
    assert add(NETWORKS[0], 0) == 0
    path, figure = Path(f"docs/results/{NETWORKS[0]}_seed0.json"), "](images/results_digits_time.png)"
    assert figure in Path("docs/results.md").read_text()
    machine, record = json.loads(path.read_text())
    path.write_text(json.dumps([machine, record | {"changed": {"train.epochs": [21, 1]}}]))
    assert tool("results", "docs/results") == 0
    page = Path("docs/results.md").read_text()
    assert figure not in page
    assert "| 1 of 21 |" in page


def test_a_figure_of_other_numbers_is_found(project, add, tool, capsys):
    assert add(NETWORKS[0], 0) == 0
    path = Path(f"docs/results/{NETWORKS[0]}_seed0.json")
    page, figure = Path("docs/results.md"), Path("docs/images/results_digits_time.png")
    before = figure.read_bytes()
    machine, record = json.loads(path.read_text())
    path.write_text(json.dumps([machine, record | {"seconds": record["seconds"] + 0.01}]))
    text = page.read_text()
    assert tool("results", "docs/results") == 0
    assert page.read_text() == text
    figure.write_bytes(before)
    assert tool("results", "docs/results", "--verify") == 2
    assert capsys.readouterr().err.startswith(f"{figure}: drawn from other numbers than those in docs/results; run ")
