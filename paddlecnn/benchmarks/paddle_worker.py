"""Paddle's side of a measurement: `python -m paddlecnn.benchmarks.paddle_worker REQUEST`, in its own process.

The contenders: installed (Paddle without the variables of runtime.py), model_fit (paddle.Model.fit), paddle (this
package's environment), onednn_float32, onednn_bfloat16; for inference also predictor_float32 and predictor_bfloat16
(paddle.inference with oneDNN) and onnxruntime.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paddlecnn.benchmarks.meter import measure
from paddlecnn.benchmarks.workloads import WORKLOADS, Workload
from paddlecnn.runtime import load_paddle

PEAK_SIZE = 2048


def main(request: dict[str, Any]) -> dict[str, Any]:
    paddle = load_paddle()
    paddle.seed(0)
    contender = request["contender"]
    if request["what"] == "peak":
        return {name: matmul_peak(name) for name in ("float32", "bfloat16")}
    workload = WORKLOADS[request["workload"]]
    network = build(workload, plain=contender in ("installed", "model_fit"))
    images = paddle.randn([workload.batch, 3, workload.size, workload.size])
    if contender.startswith("onednn_"):
        from paddlecnn import onednn

        onednn.accelerate(network, contender.removeprefix("onednn_"))
    if request["what"] == "infer":
        step = inference_step(network, images, contender)
        return measure(step, workload.batch, request["seconds"]) | {"version": paddle.__version__}
    labels = paddle.randint(0, workload.classes, [workload.batch])
    if contender == "model_fit":
        return measure_fit(network, workload, request["seconds"]) | {"version": paddle.__version__}
    step = training_step(network, images, labels)
    if request["what"] == "start":
        step()
        return {"finished": time.time()}
    if request["what"] == "primitives":
        from paddlecnn.benchmarks.primitives import profile

        return profile(network, step, workload, matmul_peak(contender.removeprefix("onednn_")))
    if request["what"] == "loop":
        from paddlecnn.benchmarks.loop import measure_loop

        return measure_loop(network, step, workload, contender.removeprefix("onednn_"), request["seconds"])
    return measure(step, workload.batch, request["seconds"]) | {"version": paddle.__version__}


def build(workload: Workload, plain: bool) -> Any:
    """The network; with `plain`, Paddle's own LocalResponseNorm in place of ours."""
    from paddle import nn

    from paddlecnn.models.layers import LocalResponseNorm

    builders: dict[str, Callable[..., Any]] = {
        "conv": lambda inputs, outputs, kernel, stride, padding: nn.Conv2D(inputs, outputs, kernel, stride, padding),
        "bn": nn.BatchNorm2D,
        "relu": nn.ReLU,
        "pool": lambda kernel, stride, ceil=False: nn.MaxPool2D(kernel, stride, ceil_mode=ceil),
        "lrn": (lambda: nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)) if plain else LocalResponseNorm,
        "flatten": nn.Flatten,
        "linear": nn.Linear,
        "dropout": nn.Dropout,
    }
    network = nn.Sequential(*[builders[kind](*numbers) for kind, *numbers in workload.layers])
    network.name, network.input_size = "workload", workload.size  # for models.summary
    return network


def training_step(network: Any, images: Any, labels: Any) -> Callable[[], float]:
    import paddle
    import paddle.nn.functional as F

    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=network.parameters(), weight_decay=5e-4)

    def step() -> float:
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss.numpy())

    return step


def inference_step(network: Any, images: Any, contender: str) -> Callable[[], float]:
    import paddle

    network.eval()
    if contender == "onnxruntime":
        return onnx_step(network, images)
    if contender.startswith("predictor_"):
        return predictor_step(network, images, contender.removeprefix("predictor_"))

    def step() -> float:
        with paddle.no_grad():
            return float(network(images).numpy().ravel()[0])

    return step


def predictor_step(network: Any, images: Any, precision: str) -> Callable[[], float]:
    """paddle.inference, as its manual sets it up for a CPU."""
    import paddle
    from paddle import inference

    with tempfile.TemporaryDirectory() as folder:
        specification = paddle.static.InputSpec([None, *images.shape[1:]], "float32")
        paddle.jit.save(network, str(Path(folder) / "network"), input_spec=[specification])
        config = inference.Config(folder, "network")
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()
        if precision == "bfloat16":
            config.enable_mkldnn_bfloat16()
        config.set_cpu_math_library_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        predictor = inference.create_predictor(config)
    array = images.numpy()
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def step() -> float:
        source.copy_from_cpu(array)
        predictor.run()
        return float(result.copy_to_cpu().ravel()[0])

    return step


def onnx_step(network: Any, images: Any) -> Callable[[], float]:
    import onnxruntime
    import paddle

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network")
        specification = paddle.static.InputSpec([None, *images.shape[1:]], "float32")
        paddle.onnx.export(network, path, input_spec=[specification], opset_version=13)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        session = onnxruntime.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    array, name = images.numpy(), session.get_inputs()[0].name
    return lambda: float(session.run(None, {name: array})[0].ravel()[0])


def measure_fit(network: Any, workload: Workload, seconds: float) -> dict[str, Any]:
    """paddle.Model.fit over one batch held in memory, repeated: the framework's own loop."""
    import paddle

    batches = 4
    draw = np.random.default_rng(0)
    pixels = draw.standard_normal((workload.batch, 3, workload.size, workload.size), np.float32)
    labels = draw.integers(0, workload.classes, (workload.batch, 1))
    loader: Any = [(pixels, labels)] * batches
    model = paddle.Model(network)
    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=network.parameters(), weight_decay=5e-4)
    model.prepare(optimizer, paddle.nn.CrossEntropyLoss())
    return measure(lambda: model.fit(loader, epochs=1, verbose=0), batches * workload.batch, seconds)


def matmul_peak(precision: str) -> float | None:
    """GFLOP/s of a large matrix product by oneDNN, the best of five; None if it is not available here."""
    import paddle

    from paddlecnn import onednn
    from paddlecnn.onednn.bindings import DataType
    from paddlecnn.onednn.builder import Builder
    from paddlecnn.onednn.primitives.linear import matmul

    if not onednn.available(precision):
        return None
    kind = DataType.BF16 if precision == "bfloat16" else DataType.F32
    b = Builder(kind, training=False)
    shape = [PEAK_SIZE, PEAK_SIZE]
    left, right = b.parameter((0, "left"), b.plain(shape)), b.parameter((0, "right"), b.plain(shape))
    target = b.parameter((0, "target"), b.plain(shape, DataType.F32))
    matmul(b, b.forward, "peak", left, right, target)
    tensors = {"left": paddle.ones(shape), "right": paddle.ones(shape), "target": paddle.zeros(shape)}
    buffer = np.zeros(b.arena.size + 64, np.uint8)
    b.buffer.bind(-(-buffer.ctypes.data // 64) * 64)
    for name, tensor in tensors.items():
        b.inputs[0, name].bind(tensor.data_ptr())
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        b.forward.run()
        times.append(time.perf_counter() - begin)
    return round(2 * PEAK_SIZE**3 / min(times[1:]) / 1e9, 1)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
