"""The networks of the papers. Nothing here knows of data, of training or of Kaggle."""
from paddlecnn.models import alexnet, lenet, vgg  # noqa: F401  (they register their networks)
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.registry import create_model, list_models

__all__ = ["LocalResponseNorm", "create_model", "list_models"]
