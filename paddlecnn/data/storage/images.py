"""Image files to RGB pixels."""
from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from paddlecnn.errors import DataError

ADVICE = "repair or remove it, then run tools/check_data.py"
JPEG_BEGIN, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

cv2.setNumThreads(0)  # one image is too small to share; worker processes are the parallelism


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3], RGB, upright. Raises DataError naming the file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The bytes of an image file as uint8 [H, W, 3], RGB.

    Turned upright by its EXIF orientation; grey is repeated; palettes are looked up; CMYK is converted;
    16 bits are cut to 8; what is transparent lies on white. Raises DataError naming the file where the
    bytes are no image or only a part of one.

    Ordinary complete JPEGs are decoded by OpenCV, everything else by Pillow. Both give the same pixels
    (libjpeg-turbo), OpenCV 1.4 times as fast; but OpenCV fills up a JPEG that was cut off, and Pillow
    refuses it, so only a file that ends as a JPEG ends goes to OpenCV.
    """
    if not data:
        raise DataError(f"{name}: empty (0 bytes); {ADVICE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            if image.format == "JPEG" and image.mode in ("RGB", "L") and data.endswith(JPEG_END):
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                if pixels is not None:
                    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
            return np.asarray(to_rgb(ImageOps.exif_transpose(image)))
    except Image.UnidentifiedImageError:
        raise DataError(f"{name}: not an image ({len(data):,} bytes that no decoder knows); {ADVICE}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{name}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; {ADVICE}") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:  # what Pillow's decoders raise
        raise DataError(f"{name}: damaged or cut off after {len(data):,} bytes ({error}); {ADVICE}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image in 8-bit RGB."""
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey to 8 clips at 255 instead of dividing.
        grey = (np.asarray(image).astype(np.float64) / 257).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def fault_of(data: bytes, name: str, thorough: bool = False) -> str | None:
    """Why `decode_image` would refuse these bytes; None where it would not.

    A file whose header is sound and that ends as its format ends is taken for whole, unless `thorough` asks
    for every pixel to be decoded.
    """
    if not thorough and looks_whole(data):
        return None
    try:
        decode_image(data, name)
    except DataError as error:
        return str(error)
    return None


def looks_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG begins and ends as such. False says nothing."""
    is_jpeg = data.startswith(JPEG_BEGIN) and data.endswith(JPEG_END)
    is_png = data.startswith(PNG_BEGIN) and data.endswith(PNG_END)
    if not is_jpeg and not is_png:
        return False
    try:
        with Image.open(io.BytesIO(data)):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
