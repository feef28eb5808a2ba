"""python tools/report.py ARGUMENTS: the same as `paddlecnn report ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("report")
