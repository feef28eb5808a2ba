"""The learning-rate range test from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from paddlecnn.api.training import source_and_config
from paddlecnn.config import Config
from paddlecnn.files import png_of
from paddlecnn.messages import information_shown
from paddlecnn.runs.fold_job import find_sources
from paddlecnn.training import find_lr as range_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class RateSearch:
    """A finished range test. A notebook shows its curve.

    suggestion: a tenth of the rate at which the smoothed loss is lowest; None if that is below the first rate
    table: one row per step: rate, loss (of the batch), smoothed
    """

    suggestion: float | None
    table: pd.DataFrame
    _test: range_test.RangeTest
    _config: Config

    def __repr__(self) -> str:
        return repr(self._test)

    def _repr_png_(self) -> bytes:
        return png_of(self.figure())

    def figure(self) -> Figure:
        """The loss against the rate, with the suggestion."""
        from paddlecnn.reporting.figures import range_test_figure  # here, because matplotlib takes a second to import

        return range_test_figure(self._test, self._config)


def find_lr(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    overrides: Mapping[str, Any] | None = None,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    device: str = "auto",
    init_from: str | Path | None = None,
) -> RateSearch:
    """Train a network for a few steps while the rate grows from `start` to `end` (Smith 2017), as `find-lr` does.

    steps: the number of steps, at most; the test ends when the loss diverges
    init_from: a run whose best weights the network starts from; without it, a fresh network
    The other arguments and the errors are those of `train`. No run is written.
    """
    _, resolved = source_and_config(config, overrides)
    source = next(iter(find_sources(init_from, resume=False)), None)
    with information_shown():
        found = range_test.find_lr(resolved, start, end, steps, device, source)
    table = pd.DataFrame({"rate": found.rates, "loss": found.losses, "smoothed": found.smoothed})
    return RateSearch(found.suggestion, table, found, resolved)
