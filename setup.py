"""For `python setup.py` and older tools; everything about the package is in pyproject.toml."""

from setuptools import setup

setup()
