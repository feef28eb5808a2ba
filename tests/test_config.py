"""A config that does not fit is one line: file, key path, the nearest valid name; exit code 2."""

import re

import pytest

from paddlecnn.config import Config
from paddlecnn.config_errors import KNOWN_AS, key_paths
from paddlecnn.configfile import PATHS, config_hash, load_config, to_yaml
from paddlecnn.errors import ConfigError

GOOD = """
data: {name: digits}
model: {name: alexnet_cifar}
optim: {lr: 2e-3}
train: {epochs: 1}
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_a_config_has_the_hash_that_it_had_before_keys_were_added(good):
    config = load_config(good, ["train.engine=auto", "train.report=true"])
    assert config_hash(config) == "d91d6a3ef069"
    for later in ("data.augment={crop: true, scale: [256, 512]}", "train.class_weights=[1, 512]"):
        assert config_hash(load_config(good, [later])) != config_hash(load_config(good, [later.replace("512", "500")]))


def test_a_config_written_out_reads_back_equal(good, tmp_path):
    config = load_config(good, ["optim.schedule={name: cosine, warmup: 2}", "train.early_stop.patience=3"])
    written = tmp_path / "resolved.yaml"
    written.write_text(to_yaml(config))
    assert load_config(written) == config
    assert config_hash(load_config(written)) == config_hash(config) != config_hash(load_config(good))


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.epochs=3", "train.epochs", 3),
        ("optim.lr=0.01", "optim.lr", 0.01),
        ("optim.weight_decay=2e-4", "optim.weight_decay", 2e-4),
        ("data.root=007", "data.root", "007"),
        ("data.augment.flip=true", "data.augment.flip", True),
        ("model.weights=null", "model.weights", None),
        ("optim.schedule.name=cosine", "optim.schedule.name", "cosine"),
        ("model.freeze=features", "model.freeze", "features"),
        ("model.freeze=[conv1, conv2]", "model.freeze", ["conv1", "conv2"]),
        ("data.root=[old]", "data.root", "[old]"),
        ("model.options.dropout=0.3", "model.options", {"dropout": 0.3}),
    ],
)
def test_an_override_is_typed_by_the_schema(good, override, key, value):
    found = load_config(good, [override])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "report"), [("1", True), ("True", True), ("yes", True), ("0", False), ("No", False)])
def test_only_a_word_for_no_turns_reports_off(good, monkeypatch, text, report):
    monkeypatch.setenv("PADDLECNN_REPORT", text)
    assert load_config(good).train.report is report


def test_off_in_a_file_is_the_word(good):
    good.write_text(GOOD.replace("epochs: 1", "epochs: 1, feature_cache: off"))
    assert load_config(good).train.feature_cache == "off"


@pytest.mark.parametrize("key", [*PATHS, "model.module"])
def test_a_tilde_in_a_path_is_the_home_folder(good, monkeypatch, key):
    monkeypatch.setenv("HOME", "/home/ada")
    found = load_config(good, [f"{key}=~/there"])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == "/home/ada/there"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.learning_rate=1", "optim.learning_rate: unknown key; did you mean optim.lr?"),
        ("train.epoch=1", "train.epoch: unknown key; did you mean train.epochs?"),
        ("lr=2", "lr: unknown key; did you mean optim.lr?"),
        ("optim.schedule={name: cosine, evry: 1}", "optim.schedule.evry: unknown key; valid here:"),
        (f"train.epochs=1{'0' * 400}", "train.epochs: input should be less than or equal to 1000000000, not 1000"),
        (f"train.epochs=1{'0' * 5000}", "integer string conversion"),
        ("data.augment.pad=1000000", "data.augment.pad: input should be less than or equal to 8192, not 1000000"),
        ("optim.schedule={name: step, step_size: 1.0e308}", "optim.schedule.step_size: input should be less than"),
        ("optim.lr=fast", "optim.lr: input should be a valid number, not 'fast'"),
        ("optim.lr=.nan", "optim.lr: input should be a finite number, not nan"),
        ("train.epochs=true", "train.epochs: input should be a valid integer, not True"),
        ("train.epochs=0", "train.epochs: input should be greater than 0, not 0"),
        ("data.val_fraction=1.0", "data.val_fraction: input should be less than 1, not 1.0"),
        ("optim.schedule.name=stepp", "optim.schedule.name: one of 'constant', 'step'"),
        (
            "optim.schedule={name: step, every: 1}",
            "optim.schedule.every: unknown key; it is now called optim.schedule.step_size",
        ),
        (
            "optim.schedule={name: onecycle, initial_factor: 25}",  # PyTorch's div_factor
            "optim.schedule.initial_factor: input should be less than or equal to 1, not 25",
        ),
        ("optim.schedule={name: onecycle, rise: 0.2}", "it is now called optim.schedule.warmup_fraction"),
        ("optim.schedule={name: step}", "optim.schedule.step_size: missing"),
        ("optim.schedule={lr: 1}", "optim.schedule.name: one of 'constant', 'step'"),
        (
            "data.augment.flip=alternate",
            "data.augment.flip: input should be a valid boolean or 'alternating', not 'alternate'; "
            "did you mean alternating?",
        ),
        ("train.class_weights=[1, 0]", "train.class_weights.1: input should be greater than 0, not 0"),
        ("model.freeze=[1]", "model.freeze.0: input should be a valid string, not 1"),
        ("optim.betas=[0.9]", "optim.betas.1: missing"),
        (
            "data.preprocess.mean=[1, 2]",
            "data.preprocess.mean: list should have at least 3 items after validation, not 2",
        ),
        ("optim.name=AdamW", "not 'AdamW'; did you mean adamw?"),
        ("train=3", "train: input should be a section of keys such as {epochs: 3}, not 3"),
        ("train.early_stop=5", "train.early_stop: input should be a section of keys such as {patience: 5}, not 5"),
        ("optim.schedule=cosine", "a section of keys such as {name: 'cosine'}, not 'cosine'"),
        ("data.augment.random_resized_crop=true", "a section of keys such as {scale: ...}, not True"),
        ("data.folds=3", None),
        ("data.fold=3", "data: fold 3: is one of data.folds, which is not set; set it, or leave fold out"),
        ("data.augment.scale=[256, 512]", "data.augment: scale: needs crop: true, and no crop_places, pad or random_"),
        ("data.augment={crop: true, scale: [512, 256]}", "data.augment: scale [512, 256]: the range must not fall"),
        ("data.augment.crop_places=5", "data.augment: crop_places 5: without crop or pad nothing is cropped; set crop"),
        (
            "train={epochs: 9, monitor: last, early_stop: {patience: 2}}",
            "train.early_stop: selects an epoch on validation, and train.monitor: last does not",
        ),
        ("epochs", "not of the form key.path=value"),
        ("train.epochs.x=3", "train.epochs"),
        ("model.options.num_classes=5", "model: options.num_classes: not an option; it follows the data's classes"),
    ],
)
def test_a_bad_override_names_the_override_the_key_and_what_would_be_right(good, override, message):
    if message is None:
        with pytest.raises(ConfigError, match="fold 3 of 3"):
            load_config(good, [override, "data.fold=3"])
        return
    with pytest.raises(ConfigError) as error:
        load_config(good, [override])
    assert message in str(error.value)
    assert str(error.value).startswith((f"-o {override}", str(good)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", KNOWN_AS)
def test_a_name_of_another_library_gets_the_key_or_what_to_do(good, word):
    for section in ("data", "model", "optim", "train"):
        with pytest.raises(ConfigError) as error:
            load_config(good, [f"{section}.{word}=1"])
        key = re.search(r": unknown key; did you mean (\S+)\?$", str(error.value))
        assert key or str(error.value).endswith(f"unknown key; {KNOWN_AS[word]}")
        assert not key or key[1] in key_paths(Config) or key[1].startswith("model.options.")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.augment.random_erasing=0.25", "data.augment.cutout"),
        ("data.augment.RandomHorizontalFlip=0.5", "data.augment.flip"),
        ("data.augment.RandomResizedCrop=1", "data.augment.random_resized_crop"),
        ("data.augment.brightness=0.4", "data.augment.color_jitter.brightness"),
        ("data.img_size=224", "data.preprocess.size"),
        ("data.val_split=0.2", "data.val_fraction"),
        ("optim.layer_decay=0.7", "optim.lr_scale"),
        ("optim.weight-decay=0.1", "optim.weight_decay"),
        ("train.gradient_accumulation_steps=2", "train.accumulate"),
        ("train.momentum=0.9", "optim.momentum"),
        ("train.early_stopping=3", "train.early_stop.patience"),
        ("train.patience=3", "train.early_stop.patience"),
        ("pretrained=true", "model.weights"),
        ("model.drop_rate=0.2", "model.options.dropout"),
        ("random_state=1", "seed"),
        ("train.seed=1", "seed"),
    ],
)
def test_a_key_of_another_section_or_library_gets_its_place(good, override, key):
    with pytest.raises(ConfigError, match=f"unknown key; did you mean {re.escape(key)}\\?$"):
        load_config(good, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epochs: 1", "line 1, column 18: expected"),
        ("a: &x 1\nb: *x", "line 2, column 4: aliases (*name) are not supported here"),
        ("train: {epochs: 010}", "line 1, column 17: 010: YAML reads this as a different number"),
        ("train: {epochs: 1:30}", "1:30: YAML reads this as a different number"),
        ("train: {epochs: 0x10}", "0x10: YAML reads this"),
        ("train: {epochs: 1_000}", "1_000: YAML reads this"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "line 2, column 1: train: duplicate key"),
        ("data: {name: digits}\nmodel: {name: m}", "train: missing"),
        ("- 1\n- 2", "contains no keys"),
        ("", "contains no keys"),
        ("1: 2", "the key 1 is not a word"),
        ("data: !!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("seed: &a [*a]", "aliases (*name) are not supported here"),
    ],
)
def test_a_bad_file_is_named_with_the_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_file_is_named_with_the_nearest_one(good):
    with pytest.raises(ConfigError, match=r"goood.yaml: no such file; did you mean .*good.yaml\?"):
        load_config(good.with_name("goood.yaml"))


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_config(path)


def test_every_config_of_the_repository_is_valid_and_short():
    from pathlib import Path

    paths = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))
    assert paths
    for path in paths:
        load_config(path)
        assert len(path.read_text().splitlines()) <= 40, path


def test_a_bad_config_ends_the_tool_with_exit_code_2_and_writes_nothing(tool, good, tmp_path, capsys):
    run = tmp_path / "run"
    assert tool("train", "-c", good, "-o", "optim.learning_rate=1", "--run", run) == 2
    captured = capsys.readouterr()
    assert captured.err == "-o optim.learning_rate=1: optim.learning_rate: unknown key; did you mean optim.lr?\n"
    assert not run.exists()


def test_a_fault_between_two_sections_is_named_without_a_key(good):
    with pytest.raises(ConfigError) as error:
        load_config(good, ["train.early_stop={patience: 2}", "train.monitor=last"])
    assert str(error.value).startswith(f"{good}: train.early_stop: selects an epoch on validation, and")
