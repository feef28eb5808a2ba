"""python tools/export.py ARGUMENTS: the same as `paddlecnn export ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("export")
