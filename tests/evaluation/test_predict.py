"""tools/predict.py: class names for image files of every kind, by a run and by published weights."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from PIL import Image
from safetensors.numpy import save_file

from helpers.weight_files import in_torchs_layout
from paddlecnn.errors import DataError
from paddlecnn.evaluation.load_run import load_run
from paddlecnn.evaluation.predict_images import image_files, imagenet_classes, predict_files, predict_images
from paddlecnn.models import create_model
from paddlecnn.runs.run_dir import RunDir

CONFIG = """
data: {name: digits, limit: 128}
model: {name: lenet5}
train: {epochs: 1, batch_size: 32}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on the digits, as tools/train.py leaves it."""
    from paddlecnn.configfile import load_config
    from paddlecnn.training.train import train_run

    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(CONFIG)
    train_run(load_config(folder / "tiny.yaml"), folder / "run", device="cpu")
    return folder / "run"


@pytest.fixture
def colours():
    """A picture of 40x30 pixels that is different on each side."""
    rows, columns = np.mgrid[0:30, 0:40]
    return np.stack([rows * 8, columns * 6, 255 - rows * 4 - columns * 3], -1).clip(0, 255).astype(np.uint8)


def answers(capsys, code, wanted_code=0):
    assert code == wanted_code
    return json.loads(capsys.readouterr().out)


def probabilities(classifier, path):
    (answer,) = predict_files(classifier, [path])
    assert answer.error is None
    return dict(answer.top(10))


def save_rotated(image, path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned; a viewer turns the picture by 90 degrees clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


WAYS = {
    "rotated.png": save_rotated,
    "alpha.png": lambda image, path: image.convert("RGBA").save(path),
    "palette.png": lambda image, path: image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(path),
    "photo.jpg": lambda image, path: image.save(path, quality=97, subsampling=0),
    "cmyk.jpg": lambda image, path: image.convert("CMYK").save(path, quality=97, subsampling=0),
    "web.webp": lambda image, path: image.save(path, lossless=True),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_same_picture_gets_the_same_answer_in_every_form(run, tmp_path, colours, name):
    classifier, image = load_run(RunDir(run)), Image.fromarray(colours)
    image.save(tmp_path / "plain.png")
    WAYS[name](image, tmp_path / name)
    wanted, found = (probabilities(classifier, tmp_path / file) for file in ("plain.png", name))
    assert found == pytest.approx(wanted, abs=0.02)


def test_a_path_a_pil_image_and_an_array_have_the_same_probabilities(run, tmp_path, colours):
    classifier = load_run(RunDir(run))
    Image.fromarray(colours).save(tmp_path / "a.png")
    images = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(colours), colours] * 5
    found = predict_images([classifier], images).logits
    assert found.shape == (20, 10)
    assert found == pytest.approx(np.tile(found[0], (20, 1)), abs=1e-5)
    assert predict_images([classifier], []).logits.shape == (0, 10)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"array of uint8 \[8, 8\]: an image must be a uint8 array"),
        (np.zeros((8, 8, 3)), "array of float64"),
        (np.zeros((0, 8, 3), np.uint8), "must be a uint8 array"),
        (7, "int: not an image"),
        ("none.png", "none.png: no such file; name an image"),
        (".", ".: is a folder; name the images in it"),
    ],
)
def test_what_is_not_an_image_is_named(run, image, message):
    with pytest.raises(DataError, match=message):
        predict_images([load_run(RunDir(run))], [image])


def test_a_truncated_pil_image_is_an_error_of_the_data(run, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(DataError, match="cannot be decoded"):
        predict_images([load_run(RunDir(run))], [image])


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_grey_pictures_of_8_and_of_16_bits(run, tmp_path, colours, mode):
    classifier, grey = load_run(RunDir(run)), colours[..., 0]
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "plain.png")
    Image.fromarray(grey if mode == "L" else grey.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    wanted, found = (probabilities(classifier, tmp_path / file) for file in ("plain.png", "grey.png"))
    assert found == pytest.approx(wanted, abs=1e-4)


def test_a_run_answers_with_its_class_and_probability(tool, capsys, run, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert tool("predict", run, tmp_path / "a.png") == 0
    path, name, probability = capsys.readouterr().out.split()
    assert path == f"{tmp_path / 'a.png'}:"
    assert name in "0123456789"
    assert 0.1 <= float(probability) <= 1


def test_a_folder_is_answered_in_order_and_what_is_unreadable_is_named(tool, capsys, run, tmp_path, colours):
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "below/c.webp"):
        Image.fromarray(colours).save(folder / name)
    (folder / "b2.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_bytes(b"as macOS leaves it beside a.jpg")
    (folder / ".thumbnails").mkdir()
    Image.fromarray(colours).save(folder / ".thumbnails" / "a.jpg")
    assert tool("predict", run, folder, "--json") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [entry["path"].removeprefix(f"{folder}/") for entry in found] == [
        "a.jpg",
        "b.png",
        "b2.jpg",
        "below/c.webp",
        "empty.png",
    ]
    assert ["error" in entry for entry in found] == [False, False, True, False, True]
    for name in ("b2.jpg", "empty.png"):
        assert sum(name in line for line in captured.err.splitlines()) == 1


def test_a_name_with_control_characters_stays_on_one_line(tool, capsys, run, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a\nb\x1b[2J.png")
    (tmp_path / "c\nd.png").write_bytes(b"x")
    assert tool("predict", run, tmp_path / "a\nb\x1b[2J.png", tmp_path / "c\nd.png") == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{tmp_path}/a\\nb\\x1b[2J.png: ")
    assert said.err.startswith(f"{tmp_path}/c\\nd.png: not an image")
    assert (said.out + said.err).count("\n") == 2


def test_more_images_than_a_batch(run, tmp_path, colours):
    for number in range(20):
        Image.fromarray(np.roll(colours, number, axis=1)).save(tmp_path / f"{number:02}.png")
    classifier = load_run(RunDir(run))
    together = list(predict_files(classifier, image_files([tmp_path])))
    alone = [next(predict_files(classifier, [path])) for path in sorted(tmp_path.glob("*.png"))]
    assert [answer.path for answer in together] == [answer.path for answer in alone]
    for one, other in zip(together, alone, strict=True):
        assert [name for name, _ in one.top(3)] == [name for name, _ in other.top(3)]


def test_published_weights_answer_with_imagenets_names(tool, capsys, tmp_path, colours):
    paddle.seed(3)
    network = create_model("vgg11_cifar", num_classes=1000)
    network.classifier.fc8.bias.set_value(paddle.nn.functional.one_hot(paddle.to_tensor(281), 1000) * 20)
    in_torchs_layout(tmp_path / "weights.safetensors", network)
    Image.fromarray(colours).save(tmp_path / "a.png")
    code = tool(
        "predict", "--model", "vgg11_cifar", "--weights", tmp_path / "weights.safetensors", tmp_path / "a.png", "--json"
    )
    (entry,) = answers(capsys, code)
    assert len(entry["top"]) == 5
    assert entry["top"][0]["class"] == "tabby"
    assert entry["top"][0]["probability"] > 0.99


def test_weights_whose_classes_or_images_are_not_known_are_refused(tool, capsys, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    for classes, message in (
        (10, "10 classes in the file, 1000 here"),
        (1000, "the preprocessing of its images is unknown"),
    ):
        network = create_model("lenet5", num_classes=classes)
        save_file({name: value.numpy() for name, value in network.state_dict().items()}, tmp_path / "w.safetensors")
        assert tool("predict", "--model", "lenet5", "--weights", tmp_path / "w.safetensors", tmp_path / "a.png") == 2
        assert message in capsys.readouterr().err


def test_weights_without_a_layer_cannot_classify_and_no_advice_is_for_a_config(tool, capsys, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    state = {name: value.numpy() for name, value in create_model("lenet5", num_classes=1000).state_dict().items()}
    for name in [name for name in state if name.startswith("classifier")]:
        del state[name]
    save_file(state, tmp_path / "w.safetensors")
    assert tool("predict", "--model", "lenet5", "--weights", tmp_path / "w.safetensors", tmp_path / "a.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lacks classifier.fc" in line
    assert line.endswith("; without all of its layers lenet5 cannot classify; name a file that has them")


def test_an_image_in_the_place_of_the_run_is_named(tool, capsys, run, tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert tool("predict", tmp_path / "a.png", run) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'a.png'}: is a file, not a run folder; name the folder")


def test_the_thousand_names():
    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[151], names[281], names[999]) == ("tench", "Chihuahua", "tabby", "toilet tissue")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "a.png"], "no such run folder"),
        (["--model", "vgg16", "a.png"], "--model and --weights go together"),
        (["--model", "lenet5", "--weights", "none.pth", "a.png"], "none.pth: no such file"),
        (["--model", "vgg17", "--weights", "none.pth", "a.png"], "did you mean"),
        (["a.png"], "at least one image"),
        (["run", "none.png"], "none.png: no such file; name an image or a folder of images"),
        (["run", "*.png"], "*.png: no such file; leave out the quotes around a pattern"),
        (["run", "-"], "-: no such file; images are read from files"),
        (["run", "https://here/a.png"], "no such file; a URL is not read; download the image first"),
        (["run", "a.png", "--topk", "0"], "--topk takes 1 or more"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(tool, capsys, monkeypatch, run, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    assert tool("predict", *(run if word == "run" else word for word in arguments)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_without_images_is_an_error(tool, capsys, run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert tool("predict", run, tmp_path / "empty") == 2
    assert "a folder without images" in capsys.readouterr().err
