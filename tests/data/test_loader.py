"""Batches: the same for any number of workers and processes, each image once, none replaced."""

from __future__ import annotations

import hashlib
import threading
import time

import numpy as np
import pytest

from helpers.images import opened, photo
from paddlecnn.config import Affine, Augment, ColorJitter, DataConfig, Preprocess, RandomResizedCrop
from paddlecnn.data.base import ArrayDataset
from paddlecnn.data.datasets import defaults, open_dataset, open_parts
from paddlecnn.data.pipeline.loader import Loader
from paddlecnn.data.pipeline.transforms import resolve
from paddlecnn.errors import ConfigError, DataError

SMALL = resolve(Preprocess(size=32, resize=40), defaults("folder"))
EVERYTHING = Augment(crop=True, flip=True, cutout=8, pca_noise=0.1, color_jitter=ColorJitter(brightness=0.2))
AUGMENTS = {
    "none": None,
    "everything": EVERYTHING,
    "mixup": Augment(mixup=0.4),
    "cutmix": Augment(cutmix=1.0),
    "affine": Augment(affine=Affine(rotate=20, zoom=(0.8, 1.2)), vertical_flip=True, crop=True),
    "scale": Augment(crop=True, scale=(36, 48), flip=True),
    "resized crop": Augment(random_resized_crop=RandomResizedCrop(), flip=True),
}


def made(count: int = 50) -> ArrayDataset:
    return ArrayDataset(
        "made",
        ("a", "b", "c"),
        [str(i) for i in range(count)],
        np.arange(count) % 3,
        np.stack([photo(i, (40, 40)) for i in range(count)]),
    )


def digest(batch) -> str:
    """A hash of everything in a batch."""
    parts = [batch.images.numpy(), batch.labels.numpy(), batch.indices]
    parts += [] if batch.soft_labels is None else [batch.soft_labels.numpy()]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def epoch_digests(loader, number: int = 1) -> list[str]:
    return [digest(batch) for batch in loader.epoch(number)]


def test_a_crop_that_has_no_room_is_a_warning(caplog):
    for augment in (
        Augment(crop=True, pad=4),
        Augment(flip=True),
        Augment(crop=True, scale=(40, 48)),
        Augment(crop=True),
    ):
        assert not caplog.messages
        Loader(made(), resolve(Preprocess(size=40), SMALL), 7, augment=augment)
    (message,) = caplog.messages
    assert message.startswith(
        "data.augment.crop: has no effect, because the image and the input are both of 40 pixels; "
    )


@pytest.mark.parametrize("augment", AUGMENTS)
def test_batches_from_files_are_the_same_for_any_number_of_workers(tree, augment):
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    digests = [
        epoch_digests(Loader(dataset, SMALL, 7, augment=AUGMENTS[augment], shuffle=True, workers=workers))
        for workers in ((0, 1, 4) if augment == "everything" else (0, 2))
    ]
    assert len(digests[0]) == 4
    assert all(other == digests[0] for other in digests)


def test_batches_in_memory_are_the_same_for_any_number_of_workers():
    """The digits config's data and augmentation."""
    config = DataConfig(name="digits", augment=Augment(pad=2), limit=100)
    train = open_dataset(config, 0).train
    digests = [
        epoch_digests(Loader(train, defaults("digits"), 16, augment=config.augment, shuffle=True, workers=workers))
        for workers in (0, 1, 4)
    ]
    assert digests[0] == digests[1] == digests[2]


def test_cifar_batches_are_the_same_for_any_number_of_workers(cifar_folder):
    train = opened("cifar10", cifar_folder).train
    digests = [
        epoch_digests(
            Loader(train, defaults("cifar10"), 16, augment=Augment(pad=4, flip=True), shuffle=True, workers=workers)
        )
        for workers in (0, 1, 4)
    ]
    assert digests[0] == digests[1] == digests[2]


def test_an_epoch_is_every_image_once_in_an_order_of_its_own():
    loader = Loader(made(), SMALL, 16, shuffle=True)
    first, second = (np.concatenate([batch.indices for batch in loader.epoch(number)]) for number in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)
    batches = list(loader.epoch(0))
    assert [len(batch.indices) for batch in batches] == [16, 16, 16, 2]
    assert len(loader) == 4
    assert all(np.array_equal(batch.labels.numpy(), batch.indices % 3) for batch in batches)
    assert np.array_equal(np.concatenate([b.indices for b in Loader(made(), SMALL, 16).epoch(5)]), np.arange(50))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_starts_from_any_step(tree, workers):
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    loader = Loader(dataset, SMALL, 5, augment=EVERYTHING, shuffle=True, workers=workers)
    whole = epoch_digests(loader)
    assert [digest(batch) for batch in loader.epoch(1, start=3)] == whole[3:]
    assert list(loader.epoch(1, start=len(loader))) == []


def test_skipped_steps_read_nothing():
    class Counting(ArrayDataset):
        read = 0

        def image(self, position):
            self.read += 1
            return super().image(position)

    source = made()
    dataset = Counting(source.name, source.classes, source.ids, source.labels, source.images)
    spec = resolve(Preprocess(size=16), SMALL)  # another size than the images': read one by one
    assert len(list(Loader(dataset, spec, 10).epoch(0, start=4))) == 1
    assert dataset.read == 10


@pytest.mark.parametrize("augment", ["everything", "mixup", "cutmix"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batch_of_one(augment, world):
    """Each takes its slice; together they have every image once, mixed with the same partners."""
    options = {"augment": AUGMENTS[augment], "shuffle": True, "seed": 4}
    whole = list(Loader(made(), SMALL, 16, **options).epoch(2))
    shares = [list(Loader(made(), SMALL, 16, shard=(rank, world), **options).epoch(2)) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert np.array_equal(np.concatenate([part.indices for part in parts]), batch.indices)
        assert np.array_equal(np.concatenate([part.images.numpy() for part in parts]), batch.images.numpy())
        if batch.soft_labels is not None:
            assert np.array_equal(np.concatenate([p.soft_labels.numpy() for p in parts]), batch.soft_labels.numpy())
        sizes = [len(part.indices) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_may_have_an_empty_share(tree, workers):
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train.subset(np.arange(2))
    batches = [
        next(Loader(dataset, SMALL, 16, augment=EVERYTHING, shard=(rank, 3), workers=workers).epoch(0))
        for rank in range(3)
    ]
    assert sorted(len(batch.indices) for batch in batches) == [0, 1, 1]
    assert [tuple(batch.images.shape[1:]) for batch in batches] == [(3, 32, 32)] * 3


def test_mixup_mixes_images_and_labels_by_the_same_share():
    plain = next(Loader(made(), SMALL, 50, augment=Augment()).epoch(0)).images.numpy()
    batch = next(Loader(made(), SMALL, 50, augment=Augment(mixup=1.0)).epoch(0))
    soft = batch.soft_labels.numpy()
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    differing = np.flatnonzero((soft > 0).sum(axis=1) == 2)
    share = soft[differing[0], differing[0] % 3]
    partner = plain[
        np.argmin(
            [
                np.abs(batch.images.numpy()[differing[0]] - share * plain[differing[0]] - (1 - share) * other).sum()
                for other in plain
            ]
        )
    ]
    np.testing.assert_allclose(
        batch.images.numpy()[differing[0]], share * plain[differing[0]] + (1 - share) * partner, atol=1e-5
    )


def test_a_data_set_without_labels(dogs_bundle):
    test = open_parts(DataConfig(name="dogs_vs_cats", root=str(dogs_bundle))).test
    batch = next(Loader(test, SMALL, 3).epoch(0))
    assert batch.labels is None
    assert batch.images.shape == [3, 3, 32, 32]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_stops_with_its_name(tree, workers):
    (tree / "dog" / "dog.3.jpg").write_bytes(b"broken")
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    with pytest.raises(DataError, match=r"^\S*dog/dog.3.jpg: not an image .*; fix or remove it$"):
        list(Loader(dataset, SMALL, 4, workers=workers).epoch(0))


def test_an_epoch_closed_early_ends_its_threads(tree):
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    before = threading.active_count()
    batches = Loader(dataset, SMALL, 4, workers=2).epoch(0)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_threads_stay_a_few_batches_ahead(tree):
    """A slow training step does not fill the memory with batches."""
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    loader = Loader(dataset, SMALL, 1, workers=2)
    read = []
    loader.read_squares = lambda positions, squares=loader.read_squares: (read.append(1), squares(positions))[1]
    batches = loader.epoch(0)
    next(batches)
    time.sleep(0.5)
    assert 1 <= len(read) <= 6 < len(loader)
    batches.close()


def test_cutout_larger_than_the_input_is_refused():
    with pytest.raises(ConfigError, match=r"data.augment.cutout: 40 is larger than the input of 32"):
        Loader(made(), SMALL, 4, augment=Augment(cutout=40))


def test_a_scale_below_the_input_is_refused():
    with pytest.raises(
        ConfigError, match=r"data.augment.scale: 30 is less than the input of 32; the crop would not fit"
    ):
        Loader(made(), SMALL, 4, augment=Augment(crop=True, scale=(30, 48)))


def test_a_cache_gives_the_same_batches_and_is_written_once(tree, tmp_path):
    dataset = open_parts(DataConfig(name="folder", root=str(tree))).train
    options = {"augment": EVERYTHING, "shuffle": True}
    folder = tmp_path / "cache"
    plain = epoch_digests(Loader(dataset, SMALL, 7, **options))
    assert epoch_digests(Loader(dataset, SMALL, 7, cache=str(folder), **options)) == plain
    (file,) = folder.glob("*.npy")
    written = file.stat().st_mtime_ns
    time.sleep(0.01)
    assert epoch_digests(Loader(dataset, SMALL, 7, cache=str(folder), **options)) == plain
    assert file.stat().st_mtime_ns == written
    Loader(dataset, resolve(Preprocess(size=32), SMALL), 7, cache=str(folder), **options)
    assert len(list(folder.glob("*.npy"))) == 2
