"""Mixup and CutMix: each image of a batch is mixed with a partner from the same batch, and so are the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from paddlecnn.config import Augment
from paddlecnn.randomness import generator


@dataclass(frozen=True)
class Mix:
    """The mix of one batch: the partners, the share, and the box."""

    partners: np.ndarray  # int [n], each image's partner in the whole batch
    share: float  # of the image itself; the partner has the rest
    box: tuple[int, int, int, int] | None  # CutMix: top, bottom, left, right of the partner's pixels; None: mixup


def draw_mix(augment: Augment, size: int, count: int, seed: int, epoch: int, step: int) -> Mix | None:
    """The mix of one step's whole batch of `count` images; None if the config has none.

    With both configured, each step takes one of them with probability 1/2.
    """
    if not augment.mixup and not augment.cutmix:
        return None
    random = generator(seed, "mix", epoch, step)
    partners = random.permutation(count)
    takes_cutmix = augment.cutmix and (not augment.mixup or random.random() < 0.5)
    alpha = augment.cutmix if takes_cutmix else augment.mixup
    share = float(random.beta(alpha, alpha))
    if not takes_cutmix:
        return Mix(partners, share, None)
    box = cut_box(share, size, *random.random(2))
    top, bottom, left, right = box
    return Mix(partners, 1 - (bottom - top) * (right - left) / size**2, box)


def cut_box(share: float, size: int, down: float, right: float) -> tuple[int, int, int, int]:
    """A box of (1 - share) of the area around a random centre, clipped at the edges (Yun et al. 2019, section 3.1)."""
    side = int(size * (1 - share) ** 0.5)
    centre = int(down * size), int(right * size)
    edges = [(max(0, c - side // 2), min(size, c - side // 2 + side)) for c in centre]
    return (*edges[0], *edges[1])


def soft_labels(own: np.ndarray, partners: np.ndarray, share: float, classes: int) -> np.ndarray:
    """float32 [n, classes]: `share` for the image's own class, the rest for its partner's."""
    one_hot = np.eye(classes, dtype=np.float32)
    return np.float32(share) * one_hot[own] + np.float32(1 - share) * one_hot[partners]
