"""Code inside a weight file does not run, whatever the format; nor does a tensor read beside its storage."""
from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from paddlecnn.errors import WeightsError
from paddlecnn.models import create_model
from paddlecnn.models.weights import load_weights


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class EvalAttack(Attack):
    """The same by way of eval, as paddle.save itself writes some tensors."""

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
    header = json.dumps({"features.conv1.weight": {"dtype": "U8", "shape": [len(content)],
                                                   "data_offsets": [0, len(content)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)


@pytest.mark.parametrize(("write", "ending"), [
    (pickled_npy, "npy"), (pickled_npz, "npz"), (pickled_pdparams, "pdparams"), (torch_zip, "pth"),
    (torch_legacy, "pth"), (torch_legacy_first, "pth"), (torch_zip, "pt"), (keras_h5, "h5"),
    (pickle_as_safetensors, "safetensors"), (pickle_in_safetensors, "safetensors"),
])
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


@pytest.mark.parametrize("name", ["posix system", "builtins exec", "builtins getattr", "numpy load", "torch load",
                                  "numpy._core.os system", "collections OrderedDict.fromkeys", "os.path os.system"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_every_name_that_is_not_a_stand_in_is_refused(tmp_path, name, protocol):
    module, attribute = name.split()
    if protocol == 0:
        content = f"c{module}\n{attribute}\n(S'x'\ntR.".encode()
    else:
        parts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute))
        content = b"\x80\x04" + parts + b"\x93)R."
    (tmp_path / "w.pdparams").write_bytes(content)
    with pytest.raises(WeightsError, match=r"asks to run .*nothing of it was run"):
        load_weights(create_model("lenet5"), tmp_path / "w.pdparams")


def crafted_pth(path, offset, size, stride, content=None):
    """A .pth whose one tensor has any view into a storage of 8 numbers."""
    view = integer(offset) + sequence(size) + sequence(stride)
    pickled = (b"\x80\x02}X\x11\x00\x00\x00features.0.weightctorch._utils\n_rebuild_tensor_v2\n"
               b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQ"
               + view + b"\x89}tRs.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/data/0", np.arange(8, dtype=np.float32).tobytes() if content is None else content)


def integer(value):
    return b"J" + struct.pack("<i", value)


def sequence(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


@pytest.mark.parametrize(("offset", "size", "stride"), [
    (0, (3, 3), (3, 1)), (8, (1,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,)),
    (0, (1 << 30, 1 << 30), (0, 0)), (4, (2, 2), (4, 1)),  # more numbers than there are; one past the end
])
def test_a_view_beyond_its_storage_is_refused(tmp_path, offset, size, stride):
    crafted_pth(tmp_path / "w.pth", offset, size, stride)
    with pytest.raises(WeightsError, match=r"w\.pth: damaged or not a PyTorch file \((a tensor|reaches)"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")


def test_a_sound_view_of_the_same_making_is_read(tmp_path):
    crafted_pth(tmp_path / "w.pth", 1, (1, 1, 2, 3), (6, 6, 3, 1))
    with pytest.raises(WeightsError, match="convolutions: found 1, expected 2"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")


def test_a_storage_of_another_length_is_refused(tmp_path):
    crafted_pth(tmp_path / "w.pth", 0, (8,), (1,), content=b"\0" * 4096)
    with pytest.raises(WeightsError, match="has not the 32 bytes"):
        load_weights(create_model("lenet5"), tmp_path / "w.pth")
