"""python tools/split.py ARGUMENTS: the same as `paddlecnn split ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("split")
