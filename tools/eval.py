"""python tools/eval.py ARGUMENTS: the same as `paddlecnn eval ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("eval")
