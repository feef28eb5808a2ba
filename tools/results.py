"""python tools/results.py ARGUMENTS: the same as `paddlecnn results ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("results")
