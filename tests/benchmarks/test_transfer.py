"""`paddlecnn benchmark transfer` measures cached features against frozen layers that run in every epoch."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import paddle
import pytest

from helpers.images import encoded, photo
from helpers.weight_files import npz
from paddlecnn import onednn
from paddlecnn.configfile import config_hash, load_run_config
from paddlecnn.models import create_model


def test_the_figures_are_a_file_of_results(long_test, tool, tmp_path, monkeypatch):
    if not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3")
    for number in range(16):
        path = tmp_path / "photos" / "train" / f"{('cat', 'dog')[number % 2]}.{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number)))
    layers = [one for one in create_model("vgg16").features.named_children() if isinstance(one[1], paddle.nn.Conv2D)]
    weights = {name: (layer.weight.numpy().transpose(2, 3, 1, 0), layer.bias.numpy()) for name, layer in layers}
    npz(tmp_path / "vgg16_weights.npz", weights)
    monkeypatch.chdir(tmp_path)
    options = ["--data", "photos", "--weights", "vgg16_weights.npz", "--images", "2", "--epochs", "1", "--hidden", "8"]
    out = Path("docs/results/transfer.json")
    out.parent.mkdir(parents=True)
    assert tool("benchmark", "transfer", *options, "--engines", "onednn", "--json", out) == 0
    machine, result = json.loads(out.read_text())
    assert machine["cpu"]
    assert machine["packages"]["paddlepaddle"]
    assert (result["what"], result["engine"], result["seed"], result["images"]) == ("transfer", "onednn", 0, 2)
    assert result["config_hash"] == config_hash(load_run_config(result["config"]))
    assert result["config"]["train"]["feature_cache"] == "cache"  # in a folder of this machine
    assert result["ratio"] == result["cached"] / result["uncached"]
    assert result["cached_loss"] == pytest.approx(result["uncached_loss"], rel=1e-3)
    assert result["ratio_of_fastest"] == result["ratio"]  # of a single engine
    if sys.platform == "linux":
        assert 500 < result["peak_anonymous_mib"] < 6 * 1024  # VGG16 itself is 56 MiB of frozen and few trained weights
    assert tool("results", "docs/results") == 0
    page = Path("docs/results.md").read_text()
    assert "| engine | with the cache | without | ratio |" in page
    assert re.search(rf"^\| onednn, float32 \| \S+ \| \S+ \| {result['ratio']:.1f} \|", page, flags=re.M)
