"""Exports of runs: they predict as the run does, travel alone, and appear only if they are right."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from helpers.docs import ROOT
from helpers.environments import linked_environment, run_in
from helpers.exports import require, require_onnx
from helpers.runs import weights_sha
from paddlecnn.runs.checkpoint import load_checkpoint

CONFIG = """
data: {{name: digits, limit: {images}}}
model: {{name: {name}, freeze: {freeze}, options: {options}}}
optim: {{name: sgd}}
train: {{epochs: 1, batch_size: 2}}
"""
FORMS = ("paddle", "onnx", "safetensors")
NETWORKS = {  # name: images, frozen part, options
    "alexnet_cifar_lrn": (8, "none", "{}"),
    "alexnet_two_tower": (2, "features", "{}"),
    "vgg16_bn_cifar": (8, "none", "{}"),
    "vgg16": (2, "features", "{hidden: [64, 64]}"),  # 4,096 each would be read and written as 550 MB in each form
}
LARGE = ("alexnet_two_tower", "vgg16")


def train(tool, folder, name: str, images=8, freeze="none", options="{}", *arguments: object):
    (folder / "config.yaml").write_text(CONFIG.format(name=name, images=images, freeze=freeze, options=options))
    assert tool("train", "-c", folder / "config.yaml", "--run", folder / "run", *arguments) == 0
    return folder / "run"


@pytest.fixture
def picture(tmp_path):
    """A colourful picture, wider than high."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((280, 200)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def lenet(tool, tmp_path):
    return train(tool, tmp_path, "lenet5")


def answer(tool, capsys, source, picture, *arguments: object) -> dict[str, float]:
    """Class and probability from `predict`, the most probable first."""
    capsys.readouterr()
    assert tool("predict", source, picture, "--topk", 10, "--json", *arguments) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return {entry["class"]: entry["probability"] for entry in found["top"]}


def refused(tool, capsys, *arguments: object) -> str:
    """The one line of a command that ends with exit code 2."""
    capsys.readouterr()
    assert tool(*arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


def exported(tool, run, form: str, *arguments: object):
    target = run.parent / {"paddle": "folder", "onnx": "net.onnx", "safetensors": "net.safetensors"}[form]
    assert tool("export", run, "--format", form, "--out", target, *arguments) == 0
    return target


@pytest.mark.parametrize("name", NETWORKS)
def test_exports_pass_their_check_and_predict_as_the_run(tool, request, capsys, tmp_path, picture, name):
    if name in LARGE:
        request.getfixturevalue("long_test")
    run = train(tool, tmp_path, name, *NETWORKS[name])
    expected = answer(tool, capsys, run, picture)
    for form, tolerance in (("paddle", 1e-5), ("onnx", 1e-4)):
        require(form)
        target = exported(tool, run, form, "--check")
        stated = re.search(r"differ from the run's by at most (\S+)\)", capsys.readouterr().out)
        assert float(stated[1]) <= tolerance
        found = answer(tool, capsys, target, picture)
        assert max(found, key=found.get) == max(expected, key=expected.get)
        assert found == pytest.approx(expected, abs=1e-5)


def test_weights_alone_predict_as_the_run_and_start_another_training(tool, capsys, lenet, picture, tmp_path):
    target = exported(tool, lenet, "safetensors", "--check")
    assert answer(tool, capsys, target, picture) == pytest.approx(answer(tool, capsys, lenet, picture), abs=1e-6)
    again = ["-o", f"model.weights={target}", "-o", "optim.lr=1e-30"]
    assert tool("train", "-c", tmp_path / "config.yaml", "--run", tmp_path / "again", *again) == 0
    weights = [
        safetensors.numpy.load_file(run / "checkpoints/best/model.safetensors") for run in (lenet, tmp_path / "again")
    ]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


@pytest.mark.parametrize("form", ["export", "checkpoint"])
def test_a_training_that_starts_from_a_runs_weights_preprocesses_as_it_does(tool, tmp_path, form):
    changed = ["-o", "data.preprocess.mean=[0.1,0.2,0.3]", "-o", "data.preprocess.fit=squeeze"]
    source = train(tool, tmp_path, "lenet5", 8, "none", "{}", *changed)
    target = (
        exported(tool, source, "safetensors") if form == "export" else source / "checkpoints/last/model.safetensors"
    )
    preprocess = []
    for name, options in (("same", []), ("own", ["-o", "data.preprocess.fit=crop"])):
        run = tmp_path / name
        start = ["-c", tmp_path / "config.yaml", "-o", f"model.weights={target}", "--run", run, *options]
        assert tool("train", *start) == 0
        preprocess.append(load_checkpoint(run / "checkpoints" / "last").state.preprocess)
    assert (preprocess[0].mean, preprocess[0].fit) == ([0.1, 0.2, 0.3], "squeeze")
    assert (preprocess[1].mean, preprocess[1].fit) == ([0.1, 0.2, 0.3], "crop")


@pytest.mark.parametrize("form", FORMS)
def test_an_export_needs_nothing_but_itself(tool, capsys, lenet, picture, form):
    require(form)
    expected = answer(tool, capsys, lenet, picture)
    target = exported(tool, lenet, form)
    lenet.rename(lenet.with_name("elsewhere"))
    assert answer(tool, capsys, target, picture) == pytest.approx(expected, abs=1e-5)


def test_onnxruntime_alone_gets_the_probabilities_from_what_travels_inside(tool, capsys, lenet, tmp_path):
    _, onnxruntime = require_onnx()

    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = answer(tool, capsys, lenet, tmp_path / "a.png")
    session = onnxruntime.InferenceSession(exported(tool, lenet, "onnx"))
    inside = json.loads(session.get_modelmeta().custom_metadata_map["paddlecnn"])
    how = inside["preprocess"]
    assert (how["size"], how["channels"]) == (32, "rgb")
    image = (pixels / how["scale"] - np.array(how["mean"])) / np.array(how["std"])
    batch = np.stack([image.transpose(2, 0, 1)] * 3).astype(np.float32)
    (logits,) = session.run(["logits"], {"images": batch})
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for row in probabilities:
        assert dict(zip(inside["classes"], row, strict=True)) == pytest.approx(expected, abs=1e-5)


OWN = """
import paddle
from paddle import nn
from paddlecnn.models import register


@register
class Own(nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2D(3, 4, 8, 8), nn.Linear(64, num_classes)

    def forward(self, images):
        maps = nn.functional.relu(self.conv(images))
        return self.fc(paddle.flatten(maps, 1)) * {factor}
"""


@pytest.fixture
def own(tool, tmp_path):
    """A function that trains a user's own network, whose logits are multiplied by a Python expression."""

    def train_own(factor: str):
        module = tmp_path / "own.py"
        # A file per test: equal ones are imported once per process, from a folder that is gone after the first test.
        module.write_text(f"# {tmp_path}{OWN.format(factor=factor)}")
        run = train(
            tool, tmp_path, "Own", 8, "none", "{}", "-o", f"model.module={module}", "-o", "data.preprocess.size=32"
        )
        return run, module

    return train_own


@pytest.mark.parametrize("form", FORMS)
def test_a_users_own_network(tool, capsys, own, picture, form):
    require(form)
    run, module = own("1")
    target = exported(tool, run, form, "--check", "--module", module)
    code = ["--module", module] if form == "safetensors" else []  # the others contain the network
    expected = answer(tool, capsys, run, picture, "--module", module)
    assert answer(tool, capsys, target, picture, *code) == pytest.approx(expected, abs=1e-5)
    if code:
        assert "only run if you name it" in refused(tool, capsys, "predict", target, picture)


@pytest.mark.parametrize("form", ["paddle", "onnx"])
def test_an_export_that_differs_leaves_nothing(tool, capsys, own, form):
    require(form)
    run, module = own("(1.0 if paddle.in_dynamic_mode() else 1.01)")
    target = run.parent / "export" / "net.onnx"
    line = refused(tool, capsys, "export", run, "--format", form, "--check", "--out", target, "--module", module)
    assert "not written; its logits differ from the run's by 0.0" in line
    assert list(target.parent.iterdir()) == []


def test_a_network_that_cannot_be_traced_is_one_line(tool, capsys, own):
    run, module = own("(1 if paddle.in_dynamic_mode() else [1][2])")
    line = refused(tool, capsys, "export", run, "--format", "paddle", "--module", module)
    assert "Own: cannot be traced by Paddle" in line
    assert "--format safetensors" in line
    assert list((run / "export").iterdir()) == []


TWICE = """
import sys
import paddlecnn as pc
from paddlecnn.cli.predict import main
config = {
    "data": {"name": "digits", "limit": 200},
    "model": {"name": "lenet5"},
    "optim": {"name": "adam", "lr": 0.003},
    "train": {"epochs": 4, "batch_size": 32},
}
pc.train(config, run="first")
main(sys.argv[1:])
pc.train(config, run="second")
"""


# broken.png: the network is opened and does not predict
@pytest.mark.parametrize(("name", "threads"), [("picture.png", "1"), ("picture.png", "2"), ("broken.png", "2")])
def test_an_export_leaves_the_process_its_number_of_threads(tool, tmp_path, lenet, picture, name, threads):
    folder = exported(tool, lenet, "paddle")
    (tmp_path / "twice.py").write_text(TWICE)
    (tmp_path / "broken.png").write_bytes(b"no image")
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    done = run_in(None, tmp_path / "twice.py", folder, name, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert weights_sha(tmp_path / "first") == weights_sha(tmp_path / "second")


def test_an_existing_file_is_kept(tool, capsys, lenet):
    target = exported(tool, lenet, "safetensors")
    content = target.read_bytes()
    assert "already exists" in refused(tool, capsys, "export", lenet, "--format", "safetensors", "--out", target)
    assert target.read_bytes() == content


def test_a_file_that_predict_would_not_recognise_is_not_written(tool, capsys, lenet, tmp_path):
    for form in ("onnx", "safetensors"):
        line = refused(tool, capsys, "export", lenet, "--format", form, "--out", tmp_path / "model.bin")
        assert f"model.bin: must end in .{form}" in line
    assert not (tmp_path / "model.bin").exists()


def test_the_default_place_is_in_the_run(tool, capsys, lenet):
    assert tool("export", lenet, "--format", "paddle") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(lenet / "export" / "paddle")
    assert {file.name for file in (lenet / "export/paddle").iterdir()} >= {"inference.pdiparams", "paddlecnn.json"}


def test_damaged_exports_are_one_line(tool, capsys, lenet, picture):
    folder = exported(tool, lenet, "paddle")
    parameters = folder / "inference.pdiparams"
    line = refused(tool, capsys, "predict", parameters, picture)
    assert f"{parameters}: a part of the export {folder}; name that folder" in line
    parameters.write_bytes(parameters.read_bytes()[:-1] + b"x")
    assert "inference.pdiparams does not match its SHA-256" in refused(tool, capsys, "predict", folder, picture)
    (folder / "paddlecnn.json").write_text("{}")
    assert "no manifest of paddlecnn" in refused(tool, capsys, "predict", folder, picture)
    (folder / "paddlecnn.json").write_text("{")
    assert "damaged" in refused(tool, capsys, "predict", folder, picture)
    weights = exported(tool, lenet, "safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "not a safetensors file" in refused(tool, capsys, "predict", weights, picture)
    checkpoint = lenet / "checkpoints/best/model.safetensors"
    assert "no manifest of paddlecnn" in refused(tool, capsys, "predict", checkpoint, picture)


def test_damaged_and_foreign_onnx_files_are_one_line(tool, capsys, lenet, picture):
    require_onnx()
    import onnx

    path = exported(tool, lenet, "onnx")
    graph = onnx.load(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert f"{path}: damaged" in refused(tool, capsys, "predict", path, picture)
    manifest = json.loads(graph.metadata_props[0].value)
    onnx.helper.set_model_props(graph, {"paddlecnn": json.dumps({**manifest, "classes": ["cat", "dog"]})})
    onnx.save(graph, path)
    assert "the manifest does not belong to a network" in refused(tool, capsys, "predict", path, picture)
    onnx.helper.set_model_props(graph, {})
    onnx.save(graph, path)
    assert "no manifest of paddlecnn" in refused(tool, capsys, "predict", path, picture)
    assert "--engine and --precision are for a run" in refused(
        tool, capsys, "predict", path, picture, "--engine", "paddle"
    )


def test_missing_data_is_found_before_anything_is_written(tool, capsys, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 40), (60 * number, 100, 50)).save(tmp_path / "tree" / name / f"{number}.png")
    other = ["-o", "data.name=folder", "-o", f"data.root={tmp_path / 'tree'}"]
    train(tool, tmp_path, "lenet5", 8, "none", "{}", *other)
    (tmp_path / "tree").rename(tmp_path / "gone")
    assert str(tmp_path / "tree") in refused(tool, capsys, "export", tmp_path / "run", "--format", "paddle", "--check")
    assert not (tmp_path / "run/export").exists()
    moved = ["--data-root", tmp_path / "gone"]
    assert "without --check" in refused(tool, capsys, "export", tmp_path / "run", "--format", "safetensors", *moved)
    assert tool("export", tmp_path / "run", "--format", "safetensors", "--check", *moved) == 0
    assert "logits differ from the run's by at most" in capsys.readouterr().out


def test_without_the_extra_one_line_says_what_to_install(lenet, tmp_path):
    packages = linked_environment(tmp_path / "packages", without=["onnx", "paddle2onnx"])
    done = run_in(packages, ROOT / "tools/export.py", lenet, "--format", "onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"onnx: not installed for .*; run `pip install -e '.*\[onnx\]'`\n", done.stderr)
    assert not (lenet / "export").exists()


def test_a_run_without_validation_images_is_checked_on_its_training_images(tool, capsys, tmp_path, picture):
    run = train(tool, tmp_path, "lenet5", 8, "none", "{}", "-o", "data.val_fraction=0")
    capsys.readouterr()
    exported(tool, run, "safetensors", "--check")
    assert "differ from the run's by at most" in capsys.readouterr().out
