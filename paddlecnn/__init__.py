"""AlexNet and VGG in PaddlePaddle, from the papers to a Kaggle submission."""
from paddlecnn import runtime

__version__ = "0.1.0"

# Paddle reads these once, when it is first imported, so they are set before any module of ours can.
runtime.prepare_environment()
