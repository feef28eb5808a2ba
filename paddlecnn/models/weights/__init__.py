"""Load published and trained weights of several formats into a network (docs/weights.md)."""

from paddlecnn.models.weights.load import WeightsReport, load_weights

__all__ = ["WeightsReport", "load_weights"]
