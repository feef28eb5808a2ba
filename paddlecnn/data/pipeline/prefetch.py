"""Batches prepared while the previous training step runs."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items of a generator, each computed in a thread while the caller uses the one before it.

    The first item is computed in the calling thread, because a generator may start worker processes with it. The
    generator is closed with this iterator.
    """
    with ThreadPoolExecutor(1, "paddlecnn-prefetch") as pool:
        try:
            item = next(items, END)
            while item is not END:
                following = pool.submit(next, items, END)
                yield item  # type: ignore[misc]
                item = following.result()
        finally:
            pool.submit(items.close).result()
