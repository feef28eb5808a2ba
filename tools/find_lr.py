"""python tools/find_lr.py ARGUMENTS: the same as `paddlecnn find-lr ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("find-lr")
