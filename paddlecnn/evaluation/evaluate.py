"""Evaluation of a finished run on validation data or, once, on test data."""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from paddlecnn import runtime
from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import DataError
from paddlecnn.evaluation.calibration import probability_columns
from paddlecnn.evaluation.load_run import load_run
from paddlecnn.evaluation.metrics import report
from paddlecnn.evaluation.predict import Predictions, check_same_data, predict_split
from paddlecnn.files import write_json, written_aside
from paddlecnn.runs.run_dir import RunDir
from paddlecnn.runs.state import RunState, Scores
from paddlecnn.text_tables import text_table


def evaluate_run(
    run: RunDir,
    split: str = "val",
    checkpoint: str = "best",
    device: str = "auto",
    module: str | None = None,
    data_changed: bool = False,
    engine: str | None = None,
    precision: str | None = None,
    tta: str = "none",
) -> dict[str, Any]:
    """The figures of `report` for a split of a run's data, kept in the run's folder.

    Writes predictions_SPLIT.csv and evaluation_SPLIT.json, whose names include `ending`, and appends a line to
    evaluations.jsonl, which records how often the test data were used.

    module: the file with the run's own networks or data sets, if it was trained with one
    data_changed: evaluate even if the data are not those that the run was trained with
    engine, precision: used in place of those that the run was trained with
    tta: the views of each image, as in `prediction_views`
    Raises DataError for a split without labels, and for changed data.
    """
    runtime.choose_device(device)
    loaded = load_run(run, checkpoint, module, engine, precision)
    splits = open_dataset(loaded.config.data, loaded.config.seed)
    changed = check_same_data(loaded, splits, data_changed)
    predictions = predict_split(loaded, splits, split, tta)
    if predictions.labels is None:
        raise DataError(
            f"{loaded.config.data.name}: its {split} images have no published labels; "
            "`paddlecnn submit` writes the predictions that Kaggle scores"
        )
    notes = [*run.reservations(checkpoint == "best", split), *changed]
    figures = {
        "split": split,
        "checkpoint": checkpoint,
        "engine": loaded.engine.name,
        "precision": loaded.engine.precision,
        "by_another_engine": loaded.by_another_engine,
        "tta": tta,
        "epoch": loaded.state.epoch,
        "step": loaded.state.step,
        "data_changed": bool(changed),
        "reservations": list(dict.fromkeys(notes)),
        **report(predictions.logits, predictions.labels, predictions.classes),
    }
    write_predictions(run.predictions(split + ending(figures)), predictions)
    write_json(run.path / f"evaluation_{split}{ending(figures)}.json", figures)
    record_evaluation(run, figures)
    return figures


def ending(figures: Mapping[str, Any]) -> str:
    """The end of the names of the files with these figures; empty for the figures that represent the run.

    Those are of the best checkpoint, by the run's own engine, on the central crop of its own data; no other figures
    replace them.
    """
    checkpoint = "" if figures["checkpoint"] == "best" else f"_{figures['checkpoint']}"
    engine = engine_suffix(figures["engine"], figures["precision"]) if figures["by_another_engine"] else ""
    return checkpoint + engine + suffix(figures["tta"]) + data_suffix(figures["data_changed"])


def engine_suffix(name: str, precision: str) -> str:
    """The part of a file's name for an engine other than the run's."""
    return f"_{name}_{precision}"


def suffix(tta: str) -> str:
    """The end of the names of the files with figures of several views; empty for the central crop alone."""
    return "" if tta == "none" else f"_{tta}"


def data_suffix(changed: bool) -> str:
    """The end of the names of the files with figures of data other than the run's; empty for its own."""
    return "_data_changed" if changed else ""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """id, label, predicted, the fold if there are several, then the probability of each class."""
    names = np.array(predictions.classes, dtype=object)
    predicted = names[predictions.logits.argmax(axis=1)]
    columns: dict[str, Any] = {"id": predictions.ids, "label": names[predictions.labels], "predicted": predicted}
    if predictions.parts is not None:
        columns["fold"] = predictions.parts
    header = probability_columns(predictions.classes, list(columns))
    probabilities = pd.DataFrame(softmax(predictions.logits.astype(np.float64), axis=1), columns=header)
    with written_aside(path) as aside:
        pd.concat([pd.DataFrame(columns), probabilities], axis=1).to_csv(aside, index=False)


def stored_predictions(
    run: RunDir, split: str, state: RunState, data_changed: bool = False
) -> tuple[dict[str, Any], Predictions] | None:
    """The figures and predictions that `evaluate_run` wrote for the best checkpoint; None without current ones.

    data_changed: those of data other than the run was trained with
    """
    end = split + data_suffix(data_changed)
    try:
        figures = json.loads((run.path / f"evaluation_{end}.json").read_text(encoding="utf-8"))
        if (figures["epoch"], figures["step"]) != (state.epoch, state.step):
            return None
        if figures["checkpoint"] != "best":  # written by version 0.2: perhaps the same step, but other weights
            return None
        if figures.get("data_changed") and not data_changed:  # written by version 0.2
            return None
        predictions = read_predictions(run.predictions(end), state.classes)
        return (figures, predictions) if len(predictions.ids) == figures["n"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """The content of a file of `write_predictions`. Raises OSError, ValueError or KeyError if it is not one.

    The logits are the logarithms of the stored probabilities: equal to the network's up to a constant per image.
    """
    table = pd.read_csv(path, dtype={0: str, 1: str, 2: str}, keep_default_na=False)
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places[name] for name in table["label"]], np.int64)
    fixed = table.shape[1] - len(classes)  # 4 with the fold
    if fixed not in (3, 4):
        raise ValueError(f"{path.name} has {table.shape[1]} columns, which does not fit {len(classes)} classes")
    probabilities = table.iloc[:, fixed:].to_numpy(np.float64)
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return Predictions(table["id"].tolist(), classes, logits, labels)


def record_evaluation(run: RunDir, figures: dict[str, Any]) -> None:
    """Append a line to evaluations.jsonl."""
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    kept = {name: figures[name] for name in ("split", "checkpoint", "tta", "epoch", "n", "loss", "top1")}
    with open(run.path / "evaluations.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"time": time} | kept) + "\n")


def as_text(figures: dict[str, Any]) -> str:
    """The figures as a few lines and a table of the classes."""
    views = "" if figures["tta"] == "none" else f", {figures['tta']} at test time"
    lines = [
        f"{figures['split']} (checkpoint {figures['checkpoint']}, epoch {figures['epoch']}{views}): "
        f"{Scores(n=figures['n'], loss=figures['loss'], top1=figures['top1'])}"
    ]
    if figures["top5"] is not None:
        lines.append(f"top-5 {figures['top5']:.2%}")
    lines.append(f"log loss {figures['log_loss']:.6f}")
    rows = [["", "precision", "recall", "images"]]
    rows += [
        [name, f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{int(row['support']):,}"]
        for name, row in figures["per_class"].items()
    ]
    return "\n".join([*lines, *figures["reservations"], text_table(rows)])


def seeds_as_text(figures: Mapping[str, dict[str, Any]]) -> str:
    """One line per seed, with the name of its folder, then the seeds' mean and standard deviation."""
    numbers = {name: (one["top1"], one["loss"], one["log_loss"]) for name, one in figures.items()}
    rows = [["", "epoch", "images", "top-1", "loss", "log loss"]]
    rows += [[name, str(figures[name]["epoch"]), f"{figures[name]['n']:,}", *shown(*numbers[name])] for name in figures]
    for title, summary in (("mean", statistics.fmean), ("standard deviation", statistics.stdev)):
        rows.append([title, "", "", *shown(*(summary(values) for values in zip(*numbers.values(), strict=True)))])
    notes = dict.fromkeys(note for one in figures.values() for note in one["reservations"])
    return "\n".join([text_table(rows), *notes])


def shown(top1: float, *losses: float) -> list[str]:
    return [f"{top1:.2%}", *(f"{loss:.6f}" for loss in losses)]
