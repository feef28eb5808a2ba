"""python tools/summary.py ARGUMENTS: the same as `paddlecnn summary ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("summary")
