"""Published accuracies to compare ours with, each with its source: published.json."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Published(BaseModel):
    """A published top-1 accuracy on the test images of a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    models: str  # glob pattern of our networks that it can be compared with
    network: str
    top1: float
    how: str
    chosen_on_test: str  # yes, no, or not stated: whether the epoch was chosen on the test images
    source: str
    link: str | None = None
    config: str | None = None  # our config for a network of the same kind, as configs/NAME.yaml


@lru_cache(maxsize=1)
def published_results() -> tuple[Published, ...]:
    """The content of published.json."""
    text = files("paddlecnn.reporting").joinpath("published.json").read_text(encoding="utf-8")
    return tuple(TypeAdapter(list[Published]).validate_json(text))


def published_for(data: str, model: str) -> list[Published]:
    """The published accuracies for a data set and a network; none if there is none with a source."""
    return [one for one in published_results() if one.data == data and fnmatchcase(model, one.models)]
