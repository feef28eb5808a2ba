"""Names in any script in figures: a font with their characters if the system has one, otherwise their numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

DEFAULT = "DejaVu Sans"  # matplotlib contains it
INVISIBLE = ("Cc", "Cf", "Mn", "Zs")  # control and format characters, combining marks, spaces: no glyph of their own


@dataclass(frozen=True)
class Labels:
    """The labels of classes in a figure, the fonts that draw them, and the classes shown as numbers."""

    texts: tuple[str, ...]
    fonts: tuple[str, ...]
    numbered: tuple[int, ...]  # classes shown by their number, the first of the run is 1

    @property
    def note(self) -> str:
        """The meaning of the numbers; empty if there are none."""
        return "numbers: positions in the run of classes whose names no font can show" if self.numbered else ""


def labels_of(classes: Sequence[str]) -> Labels:
    """The names of classes; a name with a character that no installed font has becomes its number."""
    fonts, missing = fonts_for(classes)
    numbered = tuple(number for number, name in enumerate(classes, start=1) if missing.intersection(name))
    texts = tuple(str(number) if number in numbered else name for number, name in enumerate(classes, start=1))
    return Labels(texts, fonts, numbered)


def drawable(text: str) -> str:
    """A text other than a name: each character that no installed font has becomes a question mark."""
    missing = fonts_for([text])[1]
    return "".join("?" if character in missing else character for character in text)


def fonts_for(texts: Iterable[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The families that draw all characters of the texts, and the characters that no installed font has."""
    needed = {
        character for text in texts for character in text if unicodedata.category(character) not in INVISIBLE
    } - characters_of(fontManager.findfont(DEFAULT))
    fonts = [DEFAULT]
    for entry in fontManager.ttflist if needed else ():
        if not needed:
            break
        # Last Resort, which matplotlib contains, has a box for every character.
        if entry.name.startswith("Last Resort") or entry.style != "normal":
            continue
        found = needed & characters_of(entry.fname)
        if found:
            fonts.append(entry.name)
            needed -= found
    return tuple(fonts), frozenset(needed)


@lru_cache(maxsize=512)
def characters_of(file: str) -> frozenset[str]:
    """The characters of a font file; none if it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
