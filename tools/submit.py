"""python tools/submit.py ARGUMENTS: the same as `paddlecnn submit ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("submit")
