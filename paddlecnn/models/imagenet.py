"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of every published network's outputs."""
from __future__ import annotations

from importlib.resources import files


def class_names() -> tuple[str, ...]:
    """Names by index: WordNet's first word for each class, distinguished where two share it (crane).

    The classes are in the order of their WordNet ids, which the file names.
    """
    lines = files("paddlecnn.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.partition(" ")[2] for line in lines)
