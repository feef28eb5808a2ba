"""python tools/download.py ARGUMENTS: the same as `paddlecnn download ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("download")
