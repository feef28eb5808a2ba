"""PyTorch's side of a measurement: a script that the interpreter of --peers-python runs, without paddlecnn or Paddle.

python torch_worker.py {"workload": ..., "contender": "eager|channels_last|bfloat16", "what": ..., "seconds": ...}
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parent))
    import torch
    from meter import measure  # type: ignore[import-not-found]
    from workloads import WORKLOADS  # type: ignore[import-not-found]

    workload, contender = WORKLOADS[request["workload"]], request["contender"]
    torch.manual_seed(0)
    network = build(workload.layers)
    images = torch.randn(workload.batch, 3, workload.size, workload.size)
    if contender == "channels_last":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    narrow = contender == "bfloat16"
    cast = (lambda: torch.autocast("cpu", torch.bfloat16)) if narrow else contextlib.nullcontext
    step = inference_step(network, images, cast)
    if request["what"] == "train":
        step = training_step(network, images, torch.randint(0, workload.classes, (workload.batch,)), cast)
    found = measure(step, workload.batch, request["seconds"])
    return found | {"version": torch.__version__, "threads": torch.get_num_threads()}


def build(layers: tuple[tuple[Any, ...], ...]) -> Any:
    from torch import nn

    builders: dict[str, Callable[..., Any]] = {
        "conv": nn.Conv2d,
        "bn": nn.BatchNorm2d,
        "relu": nn.ReLU,
        "pool": lambda kernel, stride, ceil=False: nn.MaxPool2d(kernel, stride, ceil_mode=ceil),
        "lrn": lambda: nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        "flatten": nn.Flatten,
        "linear": nn.Linear,
        "dropout": nn.Dropout,
    }
    return nn.Sequential(*[builders[kind](*numbers) for kind, *numbers in layers])


def training_step(network: Any, images: Any, labels: Any, cast: Callable[[], Any]) -> Callable[[], float]:
    import torch

    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    network.train()

    def step() -> float:
        with cast():
            logits = network(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference_step(network: Any, images: Any, cast: Callable[[], Any]) -> Callable[[], float]:
    import torch

    network.eval()

    def step() -> float:
        with torch.inference_mode(), cast():
            return network(images).float().flatten()[0].item()

    return step


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
