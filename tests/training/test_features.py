"""Features of frozen layers: computed once, equal to what the layers would give, safe to kill, found when damaged."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

import paddlecnn as pc
from helpers.forked import ForkedScript
from helpers.images import photos
from helpers.processes import training
from helpers.weight_files import convolutions_of
from paddlecnn import onednn
from paddlecnn.config import Preprocess
from paddlecnn.data.pipeline.features import fingerprint
from paddlecnn.models import create_model, freeze
from paddlecnn.models.freezing import divide
from paddlecnn.runs.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]


KILLS = int(os.environ.get("PADDLECNN_FEATURE_KILLS", "1"))


FEATURES = "train.feature_cache"
COUNT = 24  # photographs of most tests


@pytest.fixture
def config(tmp_path) -> Path:
    """VGG11 for 32 pixels on a few photographs, frozen up to pool3, with every augmentation that can be cached."""
    path = tmp_path / "frozen.yaml"
    path.write_text(
        f"data: {{name: folder, root: {photos(tmp_path / 'photos', COUNT)}, folds: 2,"
        " preprocess: {size: 32, resize: 41}, augment: {flip: true, crop: true, crop_places: 6}}\n"
        "model: {name: vgg11_cifar, options: {hidden: [16], dropout: 0.2}, freeze: pool3}\n"
        "optim: {name: momentum, lr: 0.01, weight_decay: 1.0e-3}\n"
        f"train: {{epochs: 2, batch_size: 8, log_every: 1, feature_cache: {tmp_path / 'cache'}}}\n"
    )
    return path


def losses(run: Path) -> list[float]:
    """The loss of each logged step and of each validation."""
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def store_files(cache: Path) -> tuple[bytes, bytes]:
    [folder] = cache.iterdir()
    return (folder / "rows").read_bytes(), (folder / "index").read_bytes()


@pytest.mark.parametrize("engine", ["paddle", "onednn"])
def test_losses_are_those_without_a_cache(tool, config, tmp_path, engine):
    """At a learning rate at which float16's rounding does not grow from step to step; other views would show."""
    if engine == "onednn" and not onednn.available():
        pytest.skip("this PaddlePaddle contains no oneDNN 3.6 or newer")
    losses_of = {}
    for name, options in {
        "cached": [],
        "plain": [f"{FEATURES}=off"],
        "other views": [f"{FEATURES}=off", "data.augment.flip=false"],
    }.items():
        options = [part for one in [*options, "optim.lr=1e-5", f"train.engine={engine}"] for part in ("-o", one)]
        assert tool("train", "-c", config, "--run", tmp_path / name, *options) == 0
        losses_of[name] = losses(tmp_path / name)
    np.testing.assert_allclose(losses_of["cached"], losses_of["plain"], rtol=1e-3)
    assert not np.allclose(losses_of["cached"], losses_of["other views"], rtol=1e-2)


def test_every_view_is_computed_once_for_all_folds(tool, config, tmp_path):
    assert tool("train", "-c", config, "--run", tmp_path / "fold-0") == 0
    rows, index = store_files(tmp_path / "cache")
    assert len(rows) == COUNT * 12 * 256 * 4 * 4 * 2  # images, views, channels, rows, columns, bytes
    assert tool("train", "-c", config, "--run", tmp_path / "fold-1", "-o", "data.fold=1") == 0
    assert store_files(tmp_path / "cache") == (rows, index)
    first, second = (json.loads((tmp_path / f"fold-{fold}/environment.json").read_text()) for fold in (0, 1))
    assert 0 <= second["feature_seconds"] < first["feature_seconds"]


def test_other_weights_or_preprocessing_are_another_folder(tool, config, tmp_path):
    for number, change in enumerate((["seed=1"], ["data.preprocess.std=[0.5,0.5,0.5]"], ["model.freeze=pool4"])):
        options = [part for one in [*change, "train.epochs=1"] for part in ("-o", one)]
        assert tool("train", "-c", config, "--run", tmp_path / str(number), *options) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_other_weights_of_the_same_layers_have_other_features():
    found = []
    for change in (0.0, 0.0, 1e-3):
        paddle.seed(0)
        network = create_model("lenet5")
        bias = network.features.conv1.bias
        bias.set_value(bias + change)
        freeze(network, "pool1")
        found.append(fingerprint(divide(network).frozen, Preprocess(size=32), onednn.Engine()))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("precision", "shared"), [("float32", True), ("bfloat16", False), ("float16", False)])
def test_engines_share_their_rows_in_float32_alone(precision, shared):
    network = create_model("vgg11_cifar")
    freeze(network, "pool1")
    layers = divide(network).frozen
    engines = (onednn.Engine(name, precision) for name in ("paddle", "onednn"))
    assert (len({fingerprint(layers, Preprocess(size=32), engine) for engine in engines}) == 1) == shared


def test_a_checkpoint_holds_the_whole_network_and_no_state_of_frozen_layers(tool, config, tmp_path):
    assert tool("train", "-c", config, "--run", tmp_path / "run", "-o", "optim.decay_biases_and_norms=false") == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints" / "last")
    network = create_model("vgg11_cifar", num_classes=2, hidden=[16])
    assert checkpoint.model.keys() == network.state_dict().keys()
    owners = {key.rpartition("/")[0] for key in checkpoint.optimizer}
    trained = {"features.conv4_1", "features.conv4_2", "features.conv5_1", "features.conv5_2", "classifier.fc6"}
    assert {owner.rpartition(".")[0] for owner in owners} == {*trained, "classifier.fc7"}


def test_evaluation_is_the_same_with_the_cache_and_on_the_images_themselves(tool, config, tmp_path):
    run = tmp_path / "run"
    assert tool("train", "-c", config, "--run", run) == 0
    cached = pc.load_run(run).evaluate("val")
    shutil.rmtree(tmp_path / "cache")
    assert pc.load_run(run).evaluate("val")["loss"] == pytest.approx(cached["loss"], rel=1e-6)
    with open(run / "predictions_val.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = pc.load_run(run).predict([tmp_path / "photos" / row["id"] for row in rows])
    np.testing.assert_allclose(table["cat"], [float(row["cat"]) for row in rows], rtol=2e-3)


def test_a_list_freezes_those_layers_alone():
    network = create_model("vgg11_bn_cifar", num_classes=3)
    freeze(network, ["conv1_1", "norm1_1", "norm3_2"])
    network.train()
    divided = divide(network)
    assert divided.last == "pool1"
    assert divided.shape == (64, 16, 16)
    divided.trained.train()
    norms = [layer for layer in divided.trained if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert [norm.training for norm in norms] == [True, True, False, True, True, True, True]
    images = paddle.randn([4, 3, 32, 32])
    network.eval()
    np.testing.assert_allclose(network(images), divided.trained(divided.frozen(images)), rtol=1e-5, atol=1e-6)


def test_a_cache_that_cannot_serve_is_refused_if_named_and_left_out_if_not(tool, config, tmp_path, capsys, monkeypatch):
    anywhere = ["-o", "data.augment.crop_places=0"]
    others = [anywhere, [*anywhere, "-o", "data.augment.scale=[40, 64]"], ["-o", "data.augment.affine={rotate: 9}"]]
    for options in others:
        assert tool("train", "-c", config, "--run", tmp_path / "a", *options) == 2
        assert "only flip, and crop with crop_places, leave a fixed number of views" in capsys.readouterr().err
    assert tool("train", "-c", config, "--run", tmp_path / "b", "-o", "model.freeze=none") == 2
    assert "no layers are frozen before all others" in capsys.readouterr().err
    assert tool("train", "-c", config, "--run", tmp_path / "c", "-o", "model.freeze=pol3") == 2
    assert "vgg11_cifar has no layer 'pol3'; did you mean pool3" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert tool("train", "-c", config, "--run", tmp_path / "d", *anywhere, "-o", f"{FEATURES}=auto") == 0
    assert not (tmp_path / "cache").exists()


def test_auto_keeps_features_in_the_working_folder(tool, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tool("train", "-c", config, "--run", tmp_path / "run", "-o", f"{FEATURES}=auto") == 0
    assert list((tmp_path / "cache" / "features").glob("vgg11_cifar-pool3-32px-*"))


@pytest.mark.parametrize("name", ["rows", "index"])
def test_a_flipped_byte_is_found(tool, config, tmp_path, capsys, name):
    assert tool("train", "-c", config, "--run", tmp_path / "a") == 0
    [folder] = (tmp_path / "cache").iterdir()
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    capsys.readouterr()
    assert tool("train", "-c", config, "--run", tmp_path / "b") == 2
    error = capsys.readouterr().err
    assert f"{folder / name}: damaged" in error
    assert f"remove {folder} and run this again" in error


def test_features_that_the_disk_cannot_hold_are_refused_with_their_size(tool, config, tmp_path, capsys):
    """A folder on a file system of one megabyte; skipped if this process may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        assert tool("train", "-c", config, "--run", tmp_path / "run", "-o", f"{FEATURES}={disk}") == 2
        error = capsys.readouterr().err
        assert re.search(r"2 MiB needed and 1 MiB free; free some space or choose another train.feature_cache", error)
    finally:
        subprocess.run(["umount", disk], check=True)


def slow_config(folder: Path) -> str:
    """2,000 views to compute: 200 photographs at five places, each also mirrored."""
    return (
        f"data: {{name: folder, root: {photos(folder / 'photos', 200)}, preprocess: {{size: 32, resize: 40}},"
        " augment: {flip: true, crop: true, crop_places: 5}}\n"
        "model: {name: vgg11_cifar, freeze: features}\n"
        "optim: {lr: 0.001}\ntrain: {epochs: 1, batch_size: 64}\n"
    )


def start(config: Path, run: Path, cache: Path) -> ForkedScript:
    return training("-c", config, "--run", run, "-o", f"{FEATURES}={cache}")


def test_a_cache_killed_again_and_again_equals_one_never_interrupted(tmp_path, capsys):
    """Killed at a random moment after a new block; `make chaos` kills ten times."""
    (tmp_path / "slow.yaml").write_text(slow_config(tmp_path))
    whole = start(tmp_path / "slow.yaml", tmp_path / "run", tmp_path / "whole")
    assert whole.wait() == 0, whole.stdout.read()
    expected = store_files(tmp_path / "whole")
    chance, kills, size, cache = random.Random(1943), 0, 0, tmp_path / "cut"
    while True:
        process = start(tmp_path / "slow.yaml", tmp_path / f"run-{kills}", cache)
        if kills == KILLS:
            assert process.wait() == 0, process.stdout.read()
            break
        while process.poll() is None and index_size(cache) == size:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.3))
        assert process.poll() is None, process.stdout.read()
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills, size = kills + 1, index_size(cache)
    assert store_files(cache) == expected
    with capsys.disabled():
        print(f"\n{kills} kills while features were computed; the files equal those never interrupted")


def test_a_signal_ends_the_computation_after_the_current_batch(tmp_path):
    (tmp_path / "slow.yaml").write_text(slow_config(tmp_path))
    process = start(tmp_path / "slow.yaml", tmp_path / "run", tmp_path / "cache")
    while process.poll() is None and index_size(tmp_path / "cache") == 0:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    found = re.search(
        r"stopped with ([\d,]+) views of images left to compute; what is computed is kept in .*; --resume ", output
    )
    assert found, output
    [folder] = (tmp_path / "cache").iterdir()
    rows = (folder / "rows").stat().st_size // (512 * 2)
    assert rows + int(found[1].replace(",", "")) == 2000


def index_size(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.glob("*/index"))


def test_a_classifier_of_statistics_reads_the_same_features_and_keeps_their_mean_and_variance(tool, config, tmp_path):
    options = ["-o", "model.freeze=features", "-o", "data.augment={flip: true}", "-o", "train.monitor=last"]
    convolutions_of("vgg11_cifar", tmp_path / "weights.npz")
    options += ["-o", f"model.weights={tmp_path / 'weights.npz'}", "-o", "model.strict=false"]
    files = []
    for pooled in ("false", "true"):
        run = tmp_path / pooled
        assert tool("train", "-c", config, "--run", run, *options, "-o", f"model.options.pooled={pooled}") == 0
        files.append(store_files(tmp_path / "cache"))
    assert files[0] == files[1]
    model = load_checkpoint(tmp_path / "true" / "checkpoints" / "last").model
    assert model["classifier.norm._mean"].shape == (3 * 512,)
    assert (model["classifier.norm._variance"] != 1).any()
    assert pc.load_run(tmp_path / "true").evaluate("val")["loss"] == pytest.approx(losses(tmp_path / "true")[-1])


def test_the_mean_and_variance_of_statistics_are_the_same_without_the_cache(tool, config, tmp_path):
    convolutions_of("vgg11_cifar", tmp_path / "weights.npz")
    options = ["-o", "model={name: vgg11_cifar, freeze: features, strict: false, options: {pooled: true}}"]
    options += ["-o", f"model.weights={tmp_path / 'weights.npz'}", "-o", "train.epochs=1"]
    models = []
    for cache in ("off", tmp_path / "cache"):
        run = tmp_path / f"run-{len(models)}"
        assert tool("train", "-c", config, "--run", run, *options, "-o", f"train.feature_cache={cache}") == 0
        models.append(load_checkpoint(run / "checkpoints" / "last").model)
    for name in ("classifier.norm._mean", "classifier.norm._variance"):
        np.testing.assert_allclose(models[0][name], models[1][name], rtol=0.01, atol=1e-3)


MEMORY = """
import json, re, sys
from pathlib import Path
import paddlecnn as pc
import paddlecnn.data.storage.row_store as row_store
peak = 0
read = row_store.RowStore.read
def watched(store, places):
    global peak
    rows = read(store, places)
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
    return rows
row_store.RowStore.read = watched
pc.train(json.loads(sys.argv[1]), run=sys.argv[2])
print(peak)
"""


def test_anonymous_memory_does_not_grow_with_the_images(tmp_path, python):
    """Four times the images make 40 MiB more features, none of which stay in the process's own memory."""
    peaks = []
    for count in (40, 160):
        config = {
            "data": {"name": "folder", "root": str(photos(tmp_path / str(count), count))},
            "model": {"name": "vgg11_cifar", "freeze": "conv1_1", "options": {"hidden": []}},
            "train": {"epochs": 1, "batch_size": 8, "feature_cache": str(tmp_path / "cache")},
        }
        config["data"]["preprocess"] = {"size": 32}
        command = [python, "-c", MEMORY, json.dumps(config), tmp_path / f"run-{count}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        peaks.append(int(result.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 30, f"{peaks} MiB"
