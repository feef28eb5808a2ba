"""A process that writes a network's graph for VisualDL: python -m paddlecnn.reporting.graph FOLDER NETWORK

NETWORK is a JSON list: name, number of classes, options, input size, module or null. See board.write_graph.
"""

from __future__ import annotations

import json
import sys

from paddlecnn import runtime


def main(folder: str, network: str) -> None:
    name, classes, options, size, module = json.loads(network)
    paddle = runtime.load_paddle()
    from visualdl import LogWriter

    from paddlecnn.models import create_model
    from paddlecnn.runs.user_module import load_module

    if module:
        load_module(module)
    model = create_model(name, num_classes=classes, **options)
    model.eval()
    with LogWriter(folder) as writer:
        writer.add_graph(model, [paddle.static.InputSpec([None, 3, size, size], "float32")])


if __name__ == "__main__":
    main(*sys.argv[1:])
