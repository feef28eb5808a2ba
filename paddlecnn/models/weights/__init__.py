"""Published and trained weights into a network, from the formats that people have them in (docs/weights.md)."""

from paddlecnn.models.weights.load import WeightsReport, load_weights

__all__ = ["WeightsReport", "load_weights"]
