"""Measure a finished run on validation or, once, on test."""
from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from paddlecnn import runtime
from paddlecnn.data.datasets import open_dataset
from paddlecnn.errors import DataError
from paddlecnn.evaluation.load_run import load_run
from paddlecnn.evaluation.metrics import Scores, report
from paddlecnn.evaluation.predictions import Predictions, predict_split
from paddlecnn.files import write_json, written_aside
from paddlecnn.reporting.figures import draw_confusion
from paddlecnn.runs.run_dir import RunDir


def evaluate_run(run: RunDir, split: str = "val", checkpoint: str = "best", device: str = "auto",
                 module: str | None = None) -> dict[str, Any]:
    """The figures of `report` for a run's split; keeps them in the run's folder.

    Writes predictions_SPLIT.csv, evaluation_SPLIT.json and confusion_SPLIT.png, and a line in evaluations.jsonl,
    which tells how often the test data were looked at. Raises DataError for a split without labels.
    """
    runtime.choose_device(device)
    loaded = load_run(run, checkpoint, module)
    predictions = predict_split(loaded, open_dataset(loaded.config.data, loaded.config.seed), split)
    if predictions.labels is None:
        raise DataError(f"{loaded.config.data.name}: its {split} images have no published labels; "
                        "tools/submit.py writes the predictions that Kaggle scores")
    figures = {"split": split, "checkpoint": checkpoint, "epoch": loaded.state.epoch, "step": loaded.state.step,
               **report(predictions.logits, predictions.labels, predictions.classes)}
    write_predictions(run.predictions(split), predictions)
    write_json(run.path / f"evaluation_{split}.json", figures)
    draw_confusion(run.path / f"confusion_{split}.png", np.array(figures["confusion"]), predictions.classes)
    note_evaluation(run, figures)
    return figures


def write_predictions(path: Path, predictions: Predictions) -> None:
    """id, label, predicted, then the probability of each class under its name."""
    names = np.array(predictions.classes, dtype=object)
    columns = {"id": predictions.ids, "label": names[predictions.labels],
               "predicted": names[predictions.logits.argmax(axis=1)]}
    probabilities = pd.DataFrame(softmax(predictions.logits.astype(np.float64), axis=1), columns=list(names))
    table = pd.concat([pd.DataFrame(columns), probabilities], axis=1)
    with written_aside(path) as aside:
        table.to_csv(aside, index=False)


def note_evaluation(run: RunDir, figures: dict[str, Any]) -> None:
    """Add a line to evaluations.jsonl: every look at a split is on record."""
    kept = ("split", "checkpoint", "epoch", "n", "loss", "top1")
    entry = {"time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
             **{name: figures[name] for name in kept}}
    with open(run.path / "evaluations.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def as_text(figures: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{figures['split']} (checkpoint {figures['checkpoint']}, epoch {figures['epoch']}): "
             f"{Scores(n=figures['n'], loss=figures['loss'], top1=figures['top1'])}"]
    if figures["top5"] is not None:
        lines.append(f"top-5 {figures['top5']:.4%}")
    lines.append(f"log loss {figures['log_loss']:.6f}")
    width = max(len(name) for name in figures["per_class"])
    lines.append(f"{'':<{width}}  precision  recall  images")
    lines += [f"{name:<{width}}  {row['precision']:>9.4f}  {row['recall']:>6.4f}  {int(row['support']):>6,}"
              for name, row in figures["per_class"].items()]
    return "\n".join(lines)
