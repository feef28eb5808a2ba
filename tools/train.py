"""python tools/train.py ARGUMENTS: the same as `paddlecnn train ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("train")
