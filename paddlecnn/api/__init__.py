"""The Python interface, `import paddlecnn as pc`; docs/api.md shows it in use. `paddlecnn.__all__` lists the names.

Names imported `as` themselves are public.
"""

from paddlecnn.api.networks import Pretrained as Pretrained
from paddlecnn.api.networks import create_model as create_model
from paddlecnn.api.networks import load_pretrained as load_pretrained
from paddlecnn.api.rate_search import RateSearch as RateSearch
from paddlecnn.api.rate_search import find_lr as find_lr
from paddlecnn.api.runs import Folds as Folds
from paddlecnn.api.runs import Run as Run
from paddlecnn.api.runs import load_folds as load_folds
from paddlecnn.api.runs import load_run as load_run
from paddlecnn.api.training import Seeds as Seeds
from paddlecnn.api.training import TrainingResult as TrainingResult
from paddlecnn.api.training import train as train
from paddlecnn.api.training import train_folds as train_folds
from paddlecnn.api.training import train_seeds as train_seeds
from paddlecnn.data.datasets import register_source as register_source
from paddlecnn.models import list_models as list_models
from paddlecnn.models.registry import register
from paddlecnn.training.optim import register_schedule as register_schedule

register_model = register
