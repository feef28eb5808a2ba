"""Image files to RGB pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose

from paddlecnn.data.storage.file_storage import ADVICE, read_file
from paddlecnn.errors import DataError

# The formats that are read, by file name suffix. Pillow knows more, some of which start other programs (EPS).
FORMAT_OF = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
SUFFIXES = tuple(FORMAT_OF)
# Images that are not read: other names for these formats, and the formats of cameras, phones and drawing programs.
OTHER_SUFFIXES = (
    ".jfif", ".jpe", ".jp2", ".jxl", ".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw",
    ".tga", ".psd", ".svg", ".pnm", ".pbm",
)  # fmt: skip
FORMATS = tuple(dict.fromkeys(FORMAT_OF.values()))
MAX_SIDE = 1 << 15  # pixels
MAX_PIXELS = 1 << 26  # 64 megapixels: 192 MiB as RGB
JPEG_BEGIN, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# What makes an image upright, by its EXIF orientation; 1 is upright, and other numbers have no meaning.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
GREY_16 = ("PPM", "PNG")  # formats whose 16-bit grey may have Pillow's mode for 32 bits
WARNINGS = Lock()  # held while the warning filters, which all threads share, are changed

cv2.setNumThreads(0)  # one image is too small to divide among threads; instead, each thread reads a batch of its own


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3], RGB, upright. Raises DataError naming the file."""
    return decode_image(read_file(Path(path)), str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The bytes of an image file as uint8 [H, W, 3], RGB.

    EXIF orientation is applied, grey is repeated, palettes are looked up, CMYK is converted, 16 bits are reduced
    to 8, and transparent pixels are put on white. Raises DataError naming the file if the bytes are not an image
    in one of FORMATS, are incomplete, have no defined white, or exceed MAX_SIDE or MAX_PIXELS.

    Complete JPEGs, except in CMYK, are decoded by OpenCV, everything else by Pillow. Both give the same pixels
    (libjpeg-turbo), OpenCV 1.4 times as fast; but OpenCV fills in a truncated JPEG, which Pillow refuses, so only a
    file that ends with a JPEG's end marker goes to OpenCV. OpenCV does not read the orientation in XMP; so Pillow reads
    it for both.
    """
    if not data:
        raise DataError(f"{name}: empty (0 bytes); {ADVICE}")
    try:
        image = open_image(data, name)
        if is_complete_jpeg(image, data):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is not None:
                rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
                number = orientation(image)
                return np.asarray(turned(Image.fromarray(rgb), number)) if number in UPRIGHT else rgb
        return np.asarray(to_rgb(upright(image)))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image ({len(data):,} bytes, none of {', '.join(FORMATS)}); {ADVICE}") from None
    except Exception as error:  # Pillow's parsers and OpenCV fail in many ways on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: damaged or truncated after {len(data):,} bytes ({reason}); {ADVICE}") from None


def open_image(data: bytes, name: str) -> Image.Image:
    """The image with its header read and its pixels not yet decoded.

    Raises DataError if it is too large or its pixels have no defined white.
    """
    try:
        with ignoring(Image.DecompressionBombWarning):  # the limits here are stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {MAX_PIXELS:,} pixels; {ADVICE}") from None
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: {width:,}x{height:,} pixels; at most {MAX_SIDE:,} on a side and {MAX_PIXELS:,} in "
            f"total are read; {ADVICE}"
        )
    refuse_without_white(image, name)
    return image


def refuse_without_white(image: Image.Image, name: str) -> None:
    """Raise DataError for pixels whose white level is not defined."""
    if image.mode == "F" or (image.mode == "I" and image.format not in GREY_16):
        raise DataError(f"{name}: signed, 32-bit or floating-point pixels have no defined white; {ADVICE}")


def is_complete_jpeg(image: Image.Image, data: bytes) -> bool:
    """Whether the bytes are a JPEG in RGB or grey that ends as one, perhaps with further pictures (MPO)."""
    return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and data.endswith(JPEG_END)


def is_upright(image: Image.Image) -> bool:
    """Whether neither EXIF nor XMP, as Pillow reads them, rotates or mirrors the image. Damaged EXIF counts as none."""
    return orientation(image) not in UPRIGHT


def orientation(image: Image.Image) -> int:
    try:
        with ignoring(UserWarning):
            return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's parser fails in many ways on damaged EXIF; the pixels do not depend on it
        return 1


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF or XMP says that it is to be seen, decoded."""
    image.load()  # first: Pillow makes a TIFF upright on its own
    return turned(image, orientation(image))


def turned(image: Image.Image, number: int) -> Image.Image:
    """An image with this EXIF orientation made upright."""
    method = UPRIGHT.get(number)
    return image if method is None else image.transpose(method)


@contextmanager
def ignoring(category: type[Warning]) -> Iterator[None]:
    """Ignore warnings. Threads take turns, since the filters are those of the whole process."""
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to 8-bit RGB."""
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey to 8 clips at 255 instead of dividing.
        grey = (np.asarray(image).astype(np.float64) / 257).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def fault_of(data: bytes, name: str) -> str | None:
    """The reason why `decode_image` would refuse these bytes; None if it would not.

    A PNG with valid checksums and a baseline JPEG that begins and ends as such are not decoded. Damage to the tables of
    such a JPEG, a few hundred bytes, is thus not found here; damage to its pixels does not keep it from being decoded.
    """
    if looks_complete(data, name):
        return None
    try:
        decode_image(data, name)
    except DataError as error:
        return str(error)
    return None


def looks_complete(data: bytes, name: str) -> bool:
    """Whether a baseline JPEG begins and ends as such, or a PNG is intact. False does not mean that it is not."""
    is_png = data.startswith(PNG_BEGIN) and data.endswith(PNG_END)
    if not is_png and not data.startswith(JPEG_BEGIN):
        return False
    try:
        image = open_image(data, name)
        if is_png:
            image.verify()  # the checksum of each chunk, without decoding
            return True
    except Exception:  # decode_image reports the reason
        return False
    # A progressive JPEG, and one that Pillow decodes, cannot be decoded after damage to its pixels.
    return is_complete_jpeg(image, data) and not image.info.get("progressive")
