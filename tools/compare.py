"""python tools/compare.py ARGUMENTS: the same as `paddlecnn compare ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("compare")
