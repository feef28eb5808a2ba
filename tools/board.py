"""python tools/board.py ARGUMENTS: the same as `paddlecnn board ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("board")
