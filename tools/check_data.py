"""python tools/check_data.py ARGUMENTS: the same as `paddlecnn check-data ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("check-data")
