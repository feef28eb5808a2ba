"""python tools/predict.py ARGUMENTS: the same as `paddlecnn predict ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("predict")
