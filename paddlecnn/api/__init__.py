"""The Python interface, `import paddlecnn as pc`; docs/api.md shows it in use."""

from paddlecnn.api.networks import Pretrained, create_model, load_pretrained
from paddlecnn.api.rate_search import RateSearch, find_lr
from paddlecnn.api.runs import Folds, Run, load_folds, load_run
from paddlecnn.api.training import Seeds, TrainingResult, train, train_folds, train_seeds
from paddlecnn.data.datasets import register_source
from paddlecnn.models import list_models
from paddlecnn.models import register as register_model
from paddlecnn.training.optim import register_schedule

__all__ = [
    "Folds",
    "Pretrained",
    "RateSearch",
    "Run",
    "Seeds",
    "TrainingResult",
    "create_model",
    "find_lr",
    "list_models",
    "load_folds",
    "load_pretrained",
    "load_run",
    "register_model",
    "register_schedule",
    "register_source",
    "train",
    "train_folds",
    "train_seeds",
]
