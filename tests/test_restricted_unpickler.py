"""The project's unpickler: plain values and arrays of any protocol, and nothing that a file could misuse."""

from __future__ import annotations

import pickle
import resource
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

from paddlecnn.restricted_unpickler import DamagedPickle, RefusedName, unpickle

VALUE = {
    "conv1": [np.arange(6, dtype=np.float32).reshape(2, 3), 3, 1.5, None, True, b"bytes", ("a", "b")],
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "scalar": np.float32(0.5),
    "empty": np.zeros((0, 4), np.uint8),
    "ordered": OrderedDict(x=1),
    7: "integer key",
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_arrays_come_back(protocol):
    found = unpickle(pickle.dumps(VALUE, protocol=protocol))
    assert list(found) == list(VALUE)
    for ours, theirs in zip(found["conv1"], VALUE["conv1"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("fortran", "big", "empty"):
        np.testing.assert_array_equal(found[name], VALUE[name])
        assert found[name].dtype == VALUE[name].dtype
    assert found["scalar"] == 0.5
    assert found["ordered"] == {"x": 1}


def test_an_array_that_is_used_twice_is_one_array():
    array = np.arange(4)
    one, two = unpickle(pickle.dumps([[array], [array]]))
    assert np.shares_memory(one[0], two[0])


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DTYPE = name("numpy", "dtype") + text("O8") + b"K\x00K\x01\x87R"
OBJECT_STATE = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft"
ARRAY = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
POINTERS = b"C\x10" + b"A" * 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DTYPE + b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.", "nothing, it is harmless"),
        (ARRAY + b"(K\x01K\x02\x85" + DTYPE + OBJECT_STATE + b"b\x89" + POINTERS + b"tb.", "an array of 'O8'"),
        (name("numpy", "ndarray") + b"(K\x01K\x02\x85" + DTYPE + b"\x89" + POINTERS + b"tb.", "a state for StandIn"),
        (
            name("_codecs", "encode") + text("x") + text("no_such_codec") + b"\x86R.",
            "bytes by the codec 'no_such_codec'",
        ),
        (name("_codecs", "encode") + text("x") + text("zip") + b"\x86R.", "bytes by the codec 'zip'"),
        (name("numpy", "dtype") + text("f4,O") + b"\x85R.", "nothing, it is harmless"),
        (name("numpy", "ndarray") + b"N}X\x04\x00\x00\x00callNs\x86b.", "a state for StandIn"),
        (b"]}b.", "a state for list"),
        (name("numpy", "dtype") + b")\x81.", "KeyError"),  # NEWOBJ
        (b"\x8f.", "KeyError"),  # EMPTY_SET
        (b"\x82\x01.", "KeyError"),  # EXT1
        (b"}(N" + b"\x85" * 300_000 + b"Nu.", "keys are not text"),  # hashing the key would overflow the stack
        (b"N" + b"\x85" * 100 + b".", "nested more than 32 deep"),
        (b"]\x940h\x00h\x00a.", "nested more than 32 deep"),  # a list that contains itself
        (b"K\x01Na.", "no attribute"),
        (b"K\x01(NNu.", "items of int"),
        (b"I" + b"9" * 5000 + b"\n.", "ValueError"),
        (b"\x8b\xff\xff\xff\x7f.", "EOFError"),  # an integer of 2**31 bytes
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "Error"),  # BINBYTES8 of 2**63 bytes
        (b"", "EOFError"),
        (b"Q.", "IndexError"),
        (b"NQ.", "a reference out of the file"),
    ],
)
def test_anything_but_plain_values_is_damaged(content, message):
    if "harmless" in message:
        unpickle(content)
        return
    with pytest.raises(DamagedPickle, match=message) as caught:
        unpickle(content)
    assert len(str(caught.value)) <= 200


def limited(content):
    """Exit code and output of a process that reads the pickle with 1 GiB of memory beyond what imports take."""
    code = (
        "import sys, resource\nfrom paddlecnn.restricted_unpickler import unpickle\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "try:\n    unpickle(sys.stdin.buffer.read())\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=False)
    return done.returncode, done.stdout.decode().strip()


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS") or sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b"Nr\xff\xff\xff\x7f.", ""),  # a memo index of 2**31: the C unpickler allocates 34 GB
        (
            b"]\x94(" + b"K\x01" * 100_000 + b"e0" + (name("builtins", "tuple") + b"h\x00\x85R") * 20_000 + b".",
            "DamagedPickle",
        ),  # copies of one list: 16 GB
        (
            b"".join([b"N\x940"] + [b"(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"t\x940" for i in range(100)])
            + b"hc.",
            "DamagedPickle",
        ),  # 2**100 values by reference
    ],
    ids=["memo", "copies", "laughs"],
)
def test_a_small_file_takes_little_memory(content, outcome):
    assert limited(content) == (0, outcome)


@pytest.mark.parametrize(
    "attribute",
    [
        "os system",
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "paddle load",
        "numpy.core.records fromrecords",
        "numpy._core.multiarray fromfile",
        "copyreg _reconstructor",
    ],
)
def test_other_names_are_refused_before_they_are_looked_up(attribute):
    module, member = attribute.split()
    with pytest.raises(RefusedName, match=f"{module}.{member}"):
        unpickle(name(module, member) + b".")
