"""python tools/benchmark.py ARGUMENTS: the same as `paddlecnn benchmark ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("benchmark")
