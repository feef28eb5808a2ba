"""The memory of a plan's tensors: in its arena, or in Paddle's tensors, whose addresses are set at each call."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from paddlecnn.onednn.handles import Memory, MemoryDesc

ALIGNMENT = 64  # a cache line and an AVX-512 register


class Slot:
    """A base address that changes from call to call, and the memory objects that lie at offsets from it."""

    def __init__(self) -> None:
        self.address = 0
        self.memories: list[tuple[Memory, int]] = []

    def memory(self, desc: MemoryDesc, offset: int) -> Memory:
        memory = Memory(desc)
        self.memories.append((memory, offset))
        if self.address:
            memory.set_address(self.address + offset)
        return memory

    def bind(self, address: int) -> None:
        """Point every memory object to the new base; does nothing if it is the old one."""
        if address == self.address:
            return
        for memory, offset in self.memories:
            memory.set_address(address + offset)
        self.address = address


class Arena:
    """Blocks of one buffer, reused as soon as nothing needs them. A plan's addresses are fixed before it runs.

    `size` is the number of bytes needed. A released block merges with its free neighbours; a request takes the
    smallest free block that is large enough.
    """

    def __init__(self) -> None:
        self.size = 0
        self.free: list[tuple[int, int]] = []  # (offset, bytes), ordered by offset

    def allocate(self, count: int) -> tuple[int, int]:
        """Offset and size of a block of at least `count` bytes."""
        count = -(-max(count, 1) // ALIGNMENT) * ALIGNMENT
        fitting = [block for block in self.free if block[1] >= count]
        if fitting:
            offset, available = min(fitting, key=lambda block: block[1])
            self.free.remove((offset, available))
            if available > count:
                bisect.insort(self.free, (offset + count, available - count))
            return offset, count
        offset = self.size
        if self.free and sum(self.free[-1]) == self.size:  # the last free block reaches the end: extend it
            offset, _ = self.free.pop()
        self.size = offset + count
        return offset, count

    def release(self, block: tuple[int, int]) -> None:
        index = bisect.bisect(self.free, block)
        offset, count = block
        if index < len(self.free) and self.free[index][0] == offset + count:
            count += self.free.pop(index)[1]
        if index and sum(self.free[index - 1]) == offset:
            index -= 1
            before, size = self.free.pop(index)
            offset, count = before, size + count
        self.free.insert(index, (offset, count))


class Value:
    """A tensor of a plan: a layout at an offset (bytes) from a slot.

    Values in the arena are counted: `retain` for each further use, `release` when a use is over. A view shares the
    count of the value it was made from.
    """

    def __init__(self, desc: MemoryDesc, slot: Slot, offset: int = 0, lifetime: Lifetime | None = None):
        self.desc, self.slot, self.offset, self.lifetime = desc, slot, offset, lifetime
        self._memory: Memory | None = None

    @property
    def memory(self) -> Memory:
        if self._memory is None:
            self._memory = self.slot.memory(self.desc, self.offset)
        return self._memory

    def view(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Value:
        """The same storage under another description, `offset` elements further on."""
        desc = MemoryDesc.strided(shape, strides, self.desc.type)
        return Value(desc, self.slot, self.offset + offset * self.desc.type.bytes, self.lifetime)

    def retain(self) -> Value:
        if self.lifetime:
            self.lifetime.uses += 1
        return self

    def release(self) -> None:
        if self.lifetime:
            self.lifetime.end_use()


class Lifetime:
    """The number of remaining uses of an arena block."""

    def __init__(self, arena: Arena, block: tuple[int, int]):
        self.arena, self.block, self.uses = arena, block, 1

    def end_use(self) -> None:
        self.uses -= 1
        if self.uses == 0:
            self.arena.release(self.block)
        assert self.uses >= 0, "a value of a plan was released too often"
