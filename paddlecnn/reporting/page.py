"""Self-contained HTML pages: one file that loads nothing, not even from its own folder."""

from __future__ import annotations

import base64
import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from paddlecnn.files import write_text
from paddlecnn.models.summary_tables import short, sides
from paddlecnn.progress_bar import duration
from paddlecnn.reporting.theme import DARK, LIGHT
from paddlecnn.runs.provenance import installed
from paddlecnn.text_tables import counted


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template of reporting/templates into a file; every value is escaped unless it is Markup."""
    page = (
        templates()
        .get_template(template)
        .render(light=LIGHT, dark=DARK, version=installed("paddlecnn") or "", **values)
    )
    write_text(path, page)


@lru_cache(maxsize=1)
def templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("paddlecnn.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter in (percent, small, points, plain, breakable, short, sides, duration, counted):
        environment.filters[filter.__name__] = filter
    return environment


def percent(value: float, digits: int = 1) -> str:
    """0.77231 as `77.2 %`, with a space that does not break."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def small(value: float) -> str:
    """0.000012 as `0.0012 %`: two significant digits, for shares that may be tiny."""
    return f"{100 * value:.2g}\N{NO-BREAK SPACE}%" if value < 0.01 else percent(value)


def points(value: float, digits: int = 2) -> str:
    """A difference of accuracies in percentage points with its sign: 0.0123 as `+1.23`."""
    return f"{100 * value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def breakable(key: str) -> Markup:
    """A key path that a narrow column may break after each dot."""
    return Markup(str(escape(key)).replace(".", ".<wbr>"))


def plain(value: Any) -> str:
    """A value of a config as YAML has it; `not set` for null."""
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value)


def data_uri(pixels: np.ndarray, format: str = "PNG") -> str:
    """Pixels uint8 [H, W, 3 or 4] as the data URI of an image inside the page; JPEG for photographs."""
    file = io.BytesIO()
    options: dict[str, Any] = {"quality": 85} if format == "JPEG" else {"optimize": True}
    Image.fromarray(pixels).save(file, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
