"""Whatever is in a weight file, reading it ends with exit 0, 2 or 3 and at most one line, and writes nothing."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from helpers import weight_files as writers
from helpers.properties import PROPERTY
from paddlecnn.__main__ import main
from paddlecnn.models import create_model
from paddlecnn.restricted_unpickler import INSTRUCTIONS, DamagedPickle, RefusedName, unpickle

ENDINGS = ["npy", "npz", "h5", "pth", "legacy.pth", "pdparams", "safetensors"]


@functools.cache
def sound_file(ending: str) -> bytes:
    """A file of the format that fits LeNet-5 with ImageNet's classes, as far as the format can be written here."""
    network = create_model("lenet5", num_classes=1000)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    weights = {
        name: (state[f"features.{name}.weight"].T, state[f"features.{name}.bias"]) for name in ("conv1", "conv2")
    }
    weights |= {
        name: (state[f"classifier.{name}.weight"], state[f"classifier.{name}.bias"]) for name in ("fc3", "fc4", "fc5")
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w.{ending}"
        if ending == "safetensors":
            save_file(state, path)
        elif ending == "pdparams":
            path.write_bytes(pickle.dumps(state, protocol=4))
        elif ending == "legacy.pth":
            turned = {name: value.T if value.ndim == 2 else value for name, value in state.items()}
            path.write_bytes(
                b"".join(
                    pickle.dumps(value, protocol=2)
                    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, turned, [])
                )
            )
        elif ending == "pth":
            writers.pth_of_one_tensor(path, 1, (1, 1, 2, 3), (6, 6, 3, 1))
        else:
            getattr(writers, {"npy": "npy_of_dicts"}.get(ending, ending))(path, weights)
        return path.read_bytes()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few damages: bytes changed, cut out, repeated, put in, or the end cut off.

    Half of them lie in the first or last 400 bytes, where formats keep their headers.
    """
    for _ in range(draw(st.integers(1, 4))):
        size = len(content)
        near = st.integers(0, min(400, size))
        at = draw(st.one_of(st.integers(0, size), near, near.map(lambda back, size=size: size - back)))
        length = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["change", "remove", "repeat", "insert", "end"]))
        middle = {
            "change": draw(st.binary(max_size=8)),
            "remove": b"",
            "repeat": content[at : at + length] * 2,
            "insert": draw(st.binary(max_size=40)) + content[at : at + length],
            "end": b"",
        }[kind]
        if kind == "change":
            length = len(middle)
        content = content[:at] + middle + (b"" if kind == "end" else content[at + length :])
    return content


def predict(folder: Path, ending: str, content: bytes) -> tuple[int, str]:
    """Exit code and stderr of `paddlecnn predict` with the content as its weight file, run in an empty folder."""
    (folder / f"w.{ending}").write_bytes(content)
    errors = io.StringIO()
    with (
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.chdir(folder / "empty"),
        pytest.raises(SystemExit) as leaving,
    ):
        main(["predict", "--model", "lenet5", "--weights", str(folder / f"w.{ending}"), str(folder / "image.png")])
    return leaving.value.code, errors.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    (folder / "empty").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "image.png")
    return folder


def check(folder, ending, content):
    code, errors = predict(folder, ending, content)
    assert code in (0, 2, 3), errors
    assert len(errors.splitlines()) <= 1, errors
    assert not os.listdir(folder / "empty")
    assert {path.name for path in folder.iterdir()} <= {"empty", "image.png", *(f"w.{ending}" for ending in ENDINGS)}
    assert (folder / f"w.{ending}").read_bytes() == content


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_files_that_are_damaged_below_are_read_to_their_end(folder, ending):
    code, errors = predict(folder, ending, sound_file(ending))
    assert code == 2
    assert ("convolutions: found 1" if ending == "pth" else "preprocessing of its images is unknown") in errors


@PROPERTY
@given(st.data())
def test_a_damaged_weight_file_is_one_line(folder, data):
    ending = data.draw(st.sampled_from(ENDINGS))
    check(folder, ending, data.draw(damaged(sound_file(ending))))


@PROPERTY
@given(ending=st.sampled_from(ENDINGS), content=st.binary(max_size=300))
def test_any_bytes_are_one_line(folder, ending, content):
    check(folder, ending, content)


NAMES = [
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("builtins", "tuple"),
    ("builtins", "bytes"),
    ("os", "mkdir"),
    ("builtins", "eval"),
]
CALL = st.sampled_from(NAMES).map(lambda name: f"c{name[0]}\n{name[1]}\n".encode())
TEXT = st.sampled_from(["f4", "O8", "<", "|", "latin1", "zip", "x" * 9]).map(
    lambda text: b"X" + len(text).to_bytes(4, "little") + text.encode()
)
INSTRUCTION = st.sampled_from([getattr(pickle, name) for name in INSTRUCTIONS])
PICKLES = st.lists(
    st.one_of(
        INSTRUCTION,
        CALL,
        TEXT,
        st.binary(min_size=1, max_size=3),
        st.integers(0, 255).map(lambda number: b"K" + bytes([number])),
        st.sampled_from(
            [
                b"(",
                b")",
                b"]",
                b"}",
                b"t",
                b"R",
                b"b",
                b"\x85",
                b"\x86",
                b"\x87",
                b"\x94",
                b"C\x08" + b"A" * 8,
                b"s",
                b"u",
                b"a",
                b"e",
                b"h\x00",
            ]
        ),
    ),
    max_size=60,
).map(lambda parts: b"".join(parts) + b".")


@PROPERTY
@given(PICKLES)
def test_any_pickle_is_read_or_refused(content):
    with contextlib.suppress(DamagedPickle, RefusedName):
        value = unpickle(content)
        assert not isinstance(value, np.generic)


@PROPERTY
@given(PICKLES, st.sampled_from(["pdparams", "legacy.pth", "npy"]))
def test_any_pickle_as_weights_is_one_line(folder, content, ending):
    header = b"\x93NUMPY\x01\x00\x36\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': ()}".ljust(53) + b"\n"
    check(folder, ending, (header if ending == "npy" else b"") + content)
