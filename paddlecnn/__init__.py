"""AlexNet and VGG in PaddlePaddle, from the papers to a Kaggle submission.

    import paddlecnn as pc
    pc.list_models("vgg*"); pc.create_model(...); pc.train(...); pc.load_run(...)      (docs/api.md)

Importing the package is quick: Paddle is imported when one of these names is first used.
"""

# Type checkers see the names of `api` through the star import; `__all__` lists them at run time.
# ruff: noqa: F403, F405
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paddlecnn import runtime

if TYPE_CHECKING:
    from paddlecnn.api import *

__version__ = "0.2.0"
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

# Paddle reads these once, when it is first imported, so they are set before any module of the package can import it.
runtime.prepare_environment()


def __getattr__(name: str) -> Any:
    """The names of `paddlecnn.api`, imported at their first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'paddlecnn' has no attribute {name!r}")
    runtime.load_paddle()  # first, without its start-up notices
    from paddlecnn import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
