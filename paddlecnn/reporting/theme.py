"""Colours and typography of every figure, and figures as SVG that follows the page's light or dark theme.

The series follow the colour-blind-safe palette of Okabe and Ito, darkened or lightened for contrast with the
background; lines also differ in their dashes or markers. A figure is drawn in the light colours; in a page each of them
becomes a CSS variable.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.figure import Figure

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2024",
    "muted": "#5b6470",
    "rule": "#d5dae1",
    "s1": "#0067a5",
    "s2": "#c4500a",
    "s3": "#00785a",
    "s4": "#a8447f",
    "s5": "#8a6a00",
    "s6": "#3d7fa6",
}
DARK = {
    "paper": "#15181c",
    "ink": "#e8eaed",
    "muted": "#a3abb5",
    "rule": "#363c44",
    "s1": "#5ab0ea",
    "s2": "#f08a4b",
    "s3": "#3cc39b",
    "s4": "#e08cbb",
    "s5": "#d9b342",
    "s6": "#9ccbe6",
}
INK, MUTED, RULE = LIGHT["ink"], LIGHT["muted"], LIGHT["rule"]
SERIES = tuple(LIGHT[f"s{number}"] for number in range(1, 7))
TRAIN, VAL = SERIES[1], SERIES[0]
BEFORE, AFTER = SERIES[1], SERIES[0]
WIDTH = 5.2  # inches of an ordinary figure: at 9 points still legible on a phone's screen


def style(fonts: Sequence[str] = ()) -> AbstractContextManager[Any]:
    """The context in which figures are drawn and saved."""
    return matplotlib.rc_context(
        {
            "font.family": [*(fonts or ["DejaVu Sans"])],
            "font.size": 9,
            "text.color": INK,
            "text.parse_math": False,  # a class may be named $x$
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",  # DejaVu Sans has no semibold, and matplotlib warns
            "axes.titlepad": 9,
            "axes.edgecolor": RULE,
            "axes.labelcolor": MUTED,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=SERIES),
            "grid.color": RULE,
            "grid.linewidth": 0.6,
            "xtick.color": RULE,
            "ytick.color": RULE,
            "xtick.labelcolor": MUTED,
            "ytick.labelcolor": MUTED,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "lines.linewidth": 1.6,
            "svg.fonttype": "none",  # text stays text: selectable, and in the reader's fonts
            "svg.hashsalt": "paddlecnn",
        }
    )


@contextlib.contextmanager
def drawing(height: float, fonts: Sequence[str] = (), width: float = WIDTH, **grid: Any) -> Iterator[Any]:
    """A new figure, in inches, with its axes; `grid` as for Figure.subplots."""
    with style(fonts):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**grid)


def svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as an inline SVG element in the colours of the page.

    name: unique in the page, the prefix of every id; description: for a reader who does not see the figure
    """
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    found = re.search(r"<svg.*</svg>", text.getvalue(), flags=re.S)
    assert found is not None
    code = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", found[0], flags=re.S)
    code = re.sub(r"font-family: [^;\"]*;? ?", "", code)
    code = re.sub(r'\bid="', f'id="{name}-', code)
    code = re.sub(r"(url\(|href=\")#", rf"\1#{name}-", code)
    for colour, value in LIGHT.items():
        code = code.replace(value, f"var(--{colour})")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', code)[1])  # type: ignore[index] # matplotlib always writes one
    start = f'<svg role="img" aria-label="{escape(description)}" style="max-width: {1.5 * width:.0f}px" '
    return Markup(re.sub(r'<svg (.*?)width="[^"]*" height="[^"]*"', lambda kept: start + kept[1], code, count=1))
