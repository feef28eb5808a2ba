"""python tools/doctor.py ARGUMENTS: the same as `paddlecnn doctor ARGUMENTS`."""

from _launch import launch

if __name__ == "__main__":
    launch("doctor")
