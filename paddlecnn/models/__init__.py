"""The networks of the papers. They import nothing from data, training or Kaggle."""

from paddlecnn.models import alexnet, lenet, vgg, vgg_fast  # noqa: F401  (they register their networks)
from paddlecnn.models.freezing import freeze
from paddlecnn.models.layers import LocalResponseNorm
from paddlecnn.models.registry import create_empty_model, create_model, list_models, register

__all__ = ["LocalResponseNorm", "create_empty_model", "create_model", "freeze", "list_models", "register"]
