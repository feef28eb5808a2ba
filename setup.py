"""Install paddlecnn. The base install names no PaddlePaddle: take `.[cpu]` or `.[gpu]`, never both."""
from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="paddlecnn",
    version="0.1.0",
    description="AlexNet and VGG in PaddlePaddle: exact to the papers, from training to a Kaggle submission",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["paddlecnn", "paddlecnn.*"]),
    package_data={"paddlecnn": ["**/*.txt", "**/*.json"]},
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.24",
        "pillow>=10.0",
        "pandas>=2.0",
        "kaggle>=2.0,<3",
        "six>=1.16",  # kaggle imports it and, since 2.0, no longer names it
        "visualdl>=2.5.3",
        "pydantic>=2.6",
        "pyyaml>=6.0",
        "scikit-learn>=1.4",
        "scipy>=1.10",
        "requests>=2.28",
        "matplotlib>=3.8",
        "safetensors>=0.4.3",
        "opencv-python-headless>=4.8",
        "py7zr>=1.1",  # streams members through a factory; tested from 1.1 on
        "tqdm>=4.66",
    ],
    extras_require={
        "cpu": ["paddlepaddle>=3.0,<4"],
        # The package index carries GPU builds up to 2.6.2; newer ones come from PaddlePaddle's own
        # index (README, "On a GPU").
        "gpu": ["paddlepaddle-gpu>=2.6.2,<4"],
        "onnx": ["onnx>=1.15", "onnxruntime>=1.17", "paddle2onnx>=2.0"],
        "test": ["pytest>=8.0", "pytest-xdist>=3.5", "ruff>=0.6", "h5py>=3.10", "selenium>=4.15"],
    },
)
