"""Programs of oneDNN primitives, and the builder that the primitives' modules append to."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, c_void_p
from dataclasses import dataclass, field

import numpy as np

from paddlecnn.onednn.bindings import Arg, DataType, ExecArg, OneDNNError, PropKind, Query, library
from paddlecnn.onednn.handles import Memory, MemoryDesc, Primitive, PrimitiveDesc
from paddlecnn.onednn.memory import Arena, Lifetime, Slot, Value
from paddlecnn.onednn.signal_stack import use_signal_stack

BFLOAT16_ONE = 0x3F80


class Program:
    """Primitives executed in order, with their arguments ready as C arrays."""

    def __init__(self) -> None:
        self.steps: list[tuple[c_void_p, int, Array[ExecArg]]] = []
        self.labels: list[str] = []  # "convolution forward: brgconv:avx512_core", for profiles and tests
        self._alive: list[object] = []

    def append(self, label: str, desc: PrimitiveDesc, arguments: dict[Arg, Memory]) -> None:
        primitive = Primitive(desc)
        array = (ExecArg * len(arguments))(*(ExecArg(arg, memory.pointer) for arg, memory in arguments.items()))
        self.steps.append((primitive.pointer, len(arguments), array))
        self.labels.append(f"{label}: {desc.implementation}")
        self._alive += [primitive, arguments]

    def run(self) -> None:
        use_signal_stack()
        execute, stream = library().execute, library().stream
        for (primitive, count, arguments), label in zip(self.steps, self.labels, strict=True):
            if status := execute(primitive, stream, count, arguments):
                raise OneDNNError(f"{label}: status {status}")
        library().stream_wait(stream)


@dataclass
class Builder:
    """The parts of a plan under construction: the two programs, the arena, and the slots of Paddle's tensors.

    Parameters and running statistics are named by the layer's position and the attribute: (3, "weight").
    """

    activation: DataType
    training: bool
    forward: Program = field(default_factory=Program)
    backward: Program = field(default_factory=Program)
    arena: Arena = field(default_factory=Arena)
    buffer: Slot = field(default_factory=Slot)
    inputs: dict[tuple[int, str], Slot] = field(default_factory=dict)
    gradients: dict[tuple[int, str], Slot] = field(default_factory=dict)
    constants: list[np.ndarray] = field(default_factory=list)
    statistics: list[tuple[int, float, Value, Value]] = field(default_factory=list)  # layer, momentum, mean, variance

    @property
    def prop_kind(self) -> PropKind:
        """The kind of the forward primitives."""
        return PropKind.FORWARD_TRAINING if self.training else PropKind.FORWARD_INFERENCE

    def value(self, desc: MemoryDesc) -> Value:
        """A new tensor in the arena, with one use."""
        block = self.arena.allocate(desc.bytes)
        return Value(desc, self.buffer, block[0], Lifetime(self.arena, block))

    @staticmethod
    def release(*values: Value | None) -> None:
        """End one use of each value."""
        for value in values:
            if value is not None:
                value.release()

    def parameter(self, name: tuple[int, str], desc: MemoryDesc) -> Value:
        """A Paddle tensor that the plan reads."""
        return Value(desc, self.inputs.setdefault(name, Slot()))

    def gradient(self, name: tuple[int, str], desc: MemoryDesc, wanted: bool) -> Value:
        """The destination of a parameter's gradient: a Paddle tensor, or a temporary block if it is not wanted."""
        if not wanted:
            return self.value(desc)
        return Value(desc, self.gradients.setdefault(name, Slot()))

    def ones(self, count: int, data_type: DataType = DataType.F32) -> Value:
        """A row of ones: its product with a matrix is the sum over the matrix's rows."""
        array = np.full(count, BFLOAT16_ONE, np.uint16) if data_type is DataType.BF16 else np.ones(count, np.float32)
        self.constants.append(array)
        slot = Slot()
        slot.bind(array.ctypes.data)
        return Value(MemoryDesc.plain([1, count], data_type), slot)

    def execute(self, program: Program, label: str, desc: PrimitiveDesc, arguments: dict[Arg, Value]) -> None:
        """Append a primitive. Its scratchpad is a block that the next primitive can use again."""
        memories = {arg: value.memory for arg, value in arguments.items()}
        if scratchpad := desc.query_bytes(Query.SCRATCHPAD_MD):
            value = self.value(scratchpad)
            memories[Arg.SCRATCHPAD] = value.memory
            value.release()
        program.append(label, desc, memories)

    def reorder(self, program: Program, label: str, source: Value, destination: Value) -> None:
        """https://uxlfoundation.github.io/oneDNN/dev_guide_reorder.html"""
        desc = PrimitiveDesc.create("reorder", source.desc, destination.desc)
        self.execute(program, f"reorder {label}", desc, {Arg.SRC: source, Arg.DST: destination})

    def to_layout(self, program: Program, label: str, source: Value, desc: MemoryDesc) -> Value:
        """The value in the given layout. Ends the caller's use of `source` and gives it one of the result."""
        if source.desc.same_layout(desc):
            return source
        destination = self.value(desc)
        self.reorder(program, label, source, destination)
        source.release()
        return destination

    def borrow(self, program: Program, label: str, source: Value, desc: MemoryDesc) -> Value:
        """Like `to_layout`, but the caller keeps its use of `source`."""
        return self.to_layout(program, label, source.retain(), desc)

    def plain(self, shape: Sequence[int], data_type: DataType | None = None) -> MemoryDesc:
        return MemoryDesc.plain(shape, self.activation if data_type is None else data_type)
