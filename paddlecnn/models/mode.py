"""The mode of a network while it predicts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from paddle import nn


@contextlib.contextmanager
def evaluation_mode(model: nn.Layer) -> Iterator[None]:
    """A context without dropout and with the kept statistics of batch normalisation; the mode before it comes back."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
