"""python tools/demo.py ARGUMENTS: the same as `paddlecnn demo ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("demo")
