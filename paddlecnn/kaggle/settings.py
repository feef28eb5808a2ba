"""The settings of a blend and its calibration, and their text form on the command line."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from paddlecnn.errors import SubmissionError
from paddlecnn.evaluation.blending import Blend, fit_blend


@dataclass(frozen=True)
class Settings:
    """A temperature above 0, a clip from 0 to below 1/2, weights with sum 1. None is fitted on validation images."""

    temperature: float | None = None
    eps: float | None = None
    weights: tuple[float, ...] | None = None

    def free(self, members: int) -> bool:
        """Whether anything is to be fitted."""
        return None in (self.temperature, self.eps) or (self.weights is None and members > 1)

    def fit(self, logits: np.ndarray, labels: np.ndarray) -> Blend:
        """Fit what is not given on logits [N, M, C] and labels [N]."""
        return fit_blend(logits, labels, self.weights, self.temperature, self.eps)


def read_settings(temperature: str, clip: str, weights: str) -> Settings:
    """Settings from text: `auto` or a number; `auto`, a number or `none`; `auto` or numbers separated by commas.

    Raises SubmissionError for anything else.
    """
    share = None if weights == "auto" else [read_number("--weights", part, 0, np.inf) for part in weights.split(",")]
    if share is not None and sum(share) == 0:
        raise SubmissionError(f"--weights {weights}: one of them must be above 0")
    return Settings(
        None if temperature == "auto" else read_number("--temperature", temperature, 1e-3, 1e3),
        None if clip == "auto" else 0.0 if clip == "none" else read_number("--clip", clip, 0, 0.499),
        None if share is None else tuple(one / sum(share) for one in share))


def read_number(option: str, text: str, low: float, high: float, otherwise: str = "auto or ") -> float:
    """The number in an option's text. Raises SubmissionError if it is none or out of range."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high or np.isinf(value):
        limits = f"from {low:g} to {high:g}" if np.isfinite(high) else f"of {low:g} or more"
        raise SubmissionError(f"{option} {text}: must be {otherwise}a number {limits}")
    return value
