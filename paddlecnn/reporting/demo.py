"""A page where you drop an image and see its class, the probabilities and what the network looked at.

Gradio serves it to this machine only. Its telemetry, its sharing and everything its pages load from elsewhere are off.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import paddle

from paddlecnn.data.storage.images import SUFFIXES
from paddlecnn.errors import RunError, UserError, require_extra
from paddlecnn.evaluation.load_run import LoadedRun
from paddlecnn.reporting.explain import SHOWN_CLASSES, explain

HOST = "127.0.0.1"
LARGEST_UPLOAD = 10 << 20  # bytes
KEPT_SECONDS = 600  # an upload; all are deleted at the end


def start_demo(run: LoadedRun, title: str, uploads: Path, port: int | None = None) -> Any:
    """Start the server and return Gradio's Blocks, whose `local_url` is the page and whose `close` ends it.

    uploads: a folder for the dropped images; port: None for a free one
    Raises UserError without the extra `demo`, RunError if the port is taken.
    """
    require_extra("demo", "gradio")
    # Read when Gradio is imported.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", GRADIO_TEMP_DIR=str(uploads))
    import gradio

    tempfile.tempdir = str(uploads)  # Starlette keeps large requests in files there
    page = build_page(run, title)
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            max_file_size=LARGEST_UPLOAD,
            theme=gradio.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")),
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError:
        raise RunError(f"--port {port}: is not free on this machine; choose another one") from None
    return page


def build_page(run: LoadedRun, title: str) -> Any:
    """A field for a file; the probabilities, the part of the image that the network sees, and Grad-CAM."""
    import gradio

    device = paddle.get_device()

    def classify(path: str | None) -> tuple[Any, Any, Any]:
        if path is None:
            return None, None, None
        paddle.set_device(device)  # Gradio calls from a thread of its own
        try:
            found = explain(run, path)
        except UserError as error:
            message = str(error).replace(f"{Path(path).parent}{os.sep}", "")
            raise gradio.Error(message, print_exception=False) from None
        return dict(found.top), found.pixels, found.heat

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gradio.Markdown(f"# {title}\nDrop an image. It stays on this machine.")
        file = gradio.File(label="Image", file_types=list(SUFFIXES), height=140)
        with gradio.Row():
            top = gradio.Label(label="Probabilities", num_top_classes=SHOWN_CLASSES)
            seen = gradio.Image(label="What the network sees", interactive=False, format="png", buttons=[])
            heat = gradio.Image(label="What supports this class", interactive=False, format="png", buttons=[])
        file.change(classify, file, [top, seen, heat], api_visibility="private")
    return page
