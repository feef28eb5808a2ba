"""Code inside a weight file does not run, whatever the format; nor does a tensor read outside its storage."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.weight_files import pth_of_one_tensor
from paddlecnn.errors import WeightsError
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights


class Attack:
    """Creates a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class EvalAttack(Attack):
    """The same through eval, as paddle.save itself writes some tensors."""

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.mark!r})",)


def pickled_npy(path, payload):
    with open(path, "wb") as file:
        np.save(file, np.array({"conv1": payload}, dtype=object), allow_pickle=True)


def pickled_npz(path, payload):
    np.savez(path, conv1_W=np.array([payload], dtype=object))


def pickled_pdparams(path, payload):
    path.write_bytes(pickle.dumps({"features.conv1.weight": payload}, protocol=4))


def torch_zip(path, payload):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"features.0.weight": payload}, protocol=2))
        archive.writestr("archive/version", "3\n")


def torch_legacy(path, payload):
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"features.0.weight": payload}, []):
            pickle.dump(value, file, protocol=2)


def torch_legacy_first(path, payload):
    path.write_bytes(pickle.dumps(payload, protocol=2))


def keras_h5(path, payload):
    h5py = pytest.importorskip("h5py", reason="h5py is in the test extra")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        file.attrs["model_config"] = pickle.dumps(payload).hex()
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"kernel:0"]
        group["kernel:0"] = np.void(pickle.dumps(payload))


def pickle_as_safetensors(path, payload):
    path.write_bytes(pickle.dumps(payload))


def pickle_in_safetensors(path, payload):
    content = pickle.dumps(payload)
    header = json.dumps(
        {"features.conv1.weight": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)


@pytest.mark.parametrize(
    ("write", "ending"),
    [
        (pickled_npy, "npy"),
        (pickled_npz, "npz"),
        (pickled_pdparams, "pdparams"),
        (torch_zip, "pth"),
        (torch_legacy, "pth"),
        (torch_legacy_first, "pth"),
        (torch_zip, "pt"),
        (keras_h5, "h5"),
        (pickle_as_safetensors, "safetensors"),
        (pickle_in_safetensors, "safetensors"),
    ],
)
@pytest.mark.parametrize("kind", [Attack, EvalAttack])
def test_code_in_a_weight_file_does_not_run(tmp_path, write, ending, kind):
    mark, path = tmp_path / "ran", tmp_path / f"weights.{ending}"
    write(path, kind(mark))
    assert not mark.exists()
    with pytest.raises(WeightsError, match=f"weights.{ending}") as caught:
        load_weights(create_model("alexnet_cifar", hidden=[8]), path, strict=False)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_the_attacks_would_have_worked(tmp_path):
    for number, kind in enumerate((Attack, EvalAttack)):
        pickle.loads(pickle.dumps(kind(tmp_path / str(number))))
        assert (tmp_path / str(number)).exists()


@pytest.mark.parametrize(
    "name",
    [
        "posix system",
        "builtins exec",
        "builtins getattr",
        "numpy load",
        "torch load",
        "numpy._core.os system",
        "collections OrderedDict.fromkeys",
        "os.path os.system",
    ],
)
@pytest.mark.parametrize("protocol", [0, 4])
def test_every_name_that_is_not_a_stand_in_is_refused(tmp_path, name, protocol):
    module, attribute = name.split()
    if protocol == 0:
        content = f"c{module}\n{attribute}\n(S'x'\ntR.".encode()
    else:
        parts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute))
        content = b"\x80\x04" + parts + b"\x93)R."
    (tmp_path / "w.pdparams").write_bytes(content)
    with pytest.raises(WeightsError, match=r"asks to run .*nothing in it was run"):
        load_weights(create_model("lenet5"), tmp_path / "w.pdparams")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (3, 3), (3, 1)),
        (8, (1,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (1 << 30, 1 << 30), (0, 0)),
        (4, (2, 2), (4, 1)),  # more numbers than there are; one past the end
    ],
)
def test_a_view_beyond_its_storage_is_refused(tmp_path, offset, size, stride):
    pth_of_one_tensor(tmp_path / "w.pth", offset, size, stride)
    with pytest.raises(WeightsError, match=r"w\.pth: damaged or not a PyTorch file \((a tensor|reaches)"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")


def test_a_sound_view_made_the_same_way_is_read(tmp_path):
    pth_of_one_tensor(tmp_path / "w.pth", 1, (1, 1, 2, 3), (6, 6, 3, 1))
    with pytest.raises(WeightsError, match="convolutions: found 1, expected 2"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")


def test_a_storage_of_another_length_is_refused(tmp_path):
    pth_of_one_tensor(tmp_path / "w.pth", 0, (8,), (1,), content=b"\0" * 4096)
    with pytest.raises(WeightsError, match="expected 32 bytes, found 4096"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")


def test_the_weights_alone_of_keras_3_are_answered_with_a_file_that_is_read(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is in the test extra")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_group("layers/conv2d/vars")["0"] = np.zeros((5, 5, 3, 6), np.float32)
    with pytest.raises(
        WeightsError, match=r"no layer_names .* Keras 3's .weights.h5; save the whole model: save\('model.h5'\)$"
    ):
        load_weights(create_model("lenet5"), tmp_path / "w.h5")


def h5_with(path, make):
    """A Keras file whose one kernel `make(group)` creates, perhaps in another file."""
    h5py = pytest.importorskip("h5py", reason="h5py is in the test extra")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"conv1/kernel:0"]
        make(h5py, group.create_group("conv1"))


def external_storage(h5py, group, secret):
    group.create_dataset("kernel:0", (4, 4, 3, 2), "f4", external=[(str(secret), 0, 384)])


def external_link(h5py, group, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["kernel"] = np.zeros((4, 4, 3, 2), np.float32)
    group["kernel:0"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "kernel")


def external_link_behind_a_soft_one(h5py, group, secret):
    external_link(h5py, group, secret)
    group.move("kernel:0", "other")
    group["kernel:0"] = h5py.SoftLink("/conv1/conv1/other")


def external_group(h5py, group, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["conv1/kernel:0"] = np.zeros((4, 4, 3, 2), np.float32)
    top = group.parent
    del top["conv1"]
    top["conv1"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "conv1")


def virtual_dataset(h5py, group, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["kernel"] = np.zeros((4, 4, 3, 2), np.float32)
    layout = h5py.VirtualLayout((4, 4, 3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "kernel", (4, 4, 3, 2))
    group.create_virtual_dataset("kernel:0", layout)


@pytest.mark.parametrize(
    "make", [external_storage, external_link, external_link_behind_a_soft_one, external_group, virtual_dataset]
)
def test_an_h5_file_does_not_read_other_files(tmp_path, make):
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(96, dtype=np.float32).tobytes())
    h5_with(tmp_path / "w.h5", lambda h5py, group: make(h5py, group, secret))
    with pytest.raises(WeightsError, match=r"w\.h5: conv1.*(a link or missing|are in another file)"):
        load_weights(create_model("lenet5"), tmp_path / "w.h5", strict=False)


def npy_with(path, value):
    np.save(path, np.array(value, dtype=object), allow_pickle=True)


def npy_header(path, header, version=(1, 0)):
    path.write_bytes(b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(header)) + header)


def safetensors_of(path, dtype, itemsize):
    header = json.dumps({"features.conv1.weight": {"dtype": dtype, "shape": [8], "data_offsets": [0, 8 * itemsize]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(8 * itemsize))


def nested_lists(path, depth=100_000):
    path.write_bytes(b"\x80\x02}" + b"X\x01\x00\x00\x00w" + b"]" * depth + b"a" * (depth - 1) + b"s.")


def encrypted(path):
    """A zip whose only member is marked as encrypted."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv1_W.npy" if path.suffix == ".npz" else "archive/data.pkl", b"x" * 40)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def bomb(path):
    """A zip that states that its two members unpack to 4 GiB each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1_W.npy" if path.suffix == ".npz" else "archive/data.pkl", bytes(1000))
        archive.writestr("archive/data/0", bytes(1000))
    content = path.read_bytes().split(b"PK\x01\x02")
    path.write_bytes(
        b"PK\x01\x02".join(
            content[:1] + [part[:20] + struct.pack("<I", 0xFFFFFFF0) + part[24:] for part in content[1:]]
        )
    )


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(200 << 30)


def beyond_float32(path):
    np.savez(path, conv1_W=np.full((5, 5, 3, 6), 1e300), conv1_b=np.zeros(6))


def twice(path):
    kernels = {name: np.zeros((5, 5, 3, 6)) for name in ("conv1_W", "conv2_W")}
    np.savez(path, **kernels, fc3_W=np.zeros((4, 4)), **{"a._fc3_W": np.zeros((4, 4))})


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (lambda path: npy_with(path, {"conv1": 3}), "w.npy", "conv1: expected weights and biases, found int"),
        (lambda path: npy_with(path, {"conv1": None}), "w.npy", "conv1: expected weights and biases, found NoneType"),
        (lambda path: npy_with(path, {"conv1": {"weights": np.float32(2)}}), "w.npy", "no layers with weights"),
        (lambda path: npy_with(path, {"fc6": [np.array(2.0)]}), "w.npy", "fc6: its weight is not an array of numbers"),
        (lambda path: npy_with(path, [1, 2]), "w.npy", "one array, not a dict"),
        (lambda path: npy_header(path, b"{" * 3000), "w.npy", "damaged or not a .npy file"),
        (lambda path: npy_header(path, b"(" * 9000), "w.npy", "damaged or not a .npy file"),
        (lambda path: npy_header(path, b"\xff\xfe{}", (2, 0)), "w.npy", "damaged or not a .npy file"),
        (lambda path: npy_header(path, b"{'descr': 'O', 'fortran_order': 1, 'shape': ('x',)}"), "w.npy", "damaged"),
        (lambda path: npy_header(path, b"{}", (9, 9)), "w.npy", "damaged or not a .npy file"),
        (lambda path: safetensors_of(path, "F8_E4M3", 1), "w.safetensors", "stored as F8_E4M3, which NumPy lacks"),
        (lambda path: safetensors_of(path, "F8_E5M2", 1), "w.safetensors", "stored as F8_E5M2, which NumPy lacks"),
        (lambda path: safetensors_of(path, "BF16", 2), "w.safetensors", "stored as BF16, which NumPy lacks"),
        (lambda path: safetensors_of(path, "F4", 1), "w.safetensors", "damaged or not|which NumPy lacks"),
        (nested_lists, "w.pdparams", "nested more than 32 deep"),
        (encrypted, "w.npz", "is encrypted; unpack it with its password"),
        (encrypted, "w.pth", "is encrypted; unpack it with its password"),
        (bomb, "w.npz", "bytes, more than the limit"),
        (bomb, "w.pth", "bytes, more than the limit"),
        *[
            (sparse, f"w.{ending}", "bytes, more than the limit")
            for ending in ("npy", "npz", "h5", "pth", "pdparams", "safetensors")
        ],
        (beyond_float32, "w.npz", "conv1: its weight has NaN, infinity or values beyond float32"),
        (twice, "w.npz", "fc3, a._fc3 would all be fc3"),
    ],
)
def test_a_hostile_file_is_one_clear_line(tmp_path, tool, capfd, write, name, message):
    write(tmp_path / name)
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    code = (
        tool("predict", "--model", "alexnet_owt", "--weights", tmp_path / name, tmp_path / "image.png")
        if name == "w.npy"
        else None
    )
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(create_model("lenet5"), tmp_path / name, strict=False)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    if code is not None:
        assert code == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
