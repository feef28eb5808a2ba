"""Every kind of image file becomes upright 8-bit RGB; a bad one is named and never replaced."""

from __future__ import annotations

import io
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from helpers.images import encoded, photo
from paddlecnn.data.storage.images import decode_image, fault_of, read_image
from paddlecnn.errors import DataError
from paddlecnn.evaluation.predict_images import pixels_of

RED = np.zeros((20, 30, 3), np.uint8) + np.array([250, 10, 20], np.uint8)


def saved(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def cmyk() -> bytes:
    return saved(Image.fromarray(RED).convert("CMYK"), "JPEG", quality=95)


def palette() -> bytes:
    return saved(Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE))


def alpha() -> bytes:
    transparent = np.dstack([np.zeros_like(RED), np.zeros(RED.shape[:2], np.uint8)])
    transparent[:, :, :3], transparent[:15, :, 3] = RED, 255
    return saved(Image.fromarray(transparent))


def png_named_jpg() -> bytes:
    return saved(Image.fromarray(RED))


def trailing_bytes() -> bytes:
    return saved(Image.fromarray(RED), "JPEG", quality=95) + b"\0\0\n"


@pytest.mark.parametrize("make", [cmyk, palette, alpha, png_named_jpg, trailing_bytes])
def test_each_kind_comes_out_as_rgb(make):
    pixels = decode_image(make(), "x.jpg")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (20, 30, 3)
    assert np.abs(pixels[5, 5].astype(int) - RED[0, 0]).max() <= 6


def test_transparent_pixels_are_put_on_white():
    assert decode_image(alpha(), "x.png")[18, 5].tolist() == [255, 255, 255]


def test_grey_of_8_and_16_bits():
    ramp = np.arange(0, 256, dtype=np.uint8)[None].repeat(4, 0)
    eight = decode_image(saved(Image.fromarray(ramp)), "x.png")
    sixteen = decode_image(saved(Image.fromarray(ramp.astype(np.uint16) * 257)), "x.png")
    assert np.array_equal(eight, np.repeat(ramp[:, :, None], 3, 2))
    assert np.array_equal(eight, sixteen)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_turns_the_image_upright(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(photo(1))
    data = saved(stored, format, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = {
            1: image.copy(),
            **{
                number: image.transpose(how)
                for number, how in {
                    2: Image.Transpose.FLIP_LEFT_RIGHT,
                    3: Image.Transpose.ROTATE_180,
                    4: Image.Transpose.FLIP_TOP_BOTTOM,
                    5: Image.Transpose.TRANSPOSE,
                    6: Image.Transpose.ROTATE_270,
                    7: Image.Transpose.TRANSVERSE,
                    8: Image.Transpose.ROTATE_90,
                }.items()
            },
        }[orientation]
    assert np.array_equal(decode_image(data, "x"), np.asarray(expected.convert("RGB")))


def test_orientation_in_xmp_turns_a_file_as_it_turns_a_pil_image():
    data = saved(Image.fromarray(photo(1)), "JPEG", xmp=b'<x:xmpmeta tiff:Orientation="6"/>')
    turned = decode_image(data, "x")
    assert turned.shape == (64, 48, 3)
    assert np.array_equal(turned, pixels_of(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_tiff_without_a_defined_white_is_refused(dtype):
    data = saved(Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8).astype(dtype)), "TIFF")
    message = r"x.tif: signed, 32-bit or floating-point pixels have no defined white; fix or remove it"
    with pytest.raises(DataError, match=message):
        decode_image(data, "x.tif")


def test_16_bit_grey_is_read_from_each_format_that_has_it():
    ramp = np.arange(0, 65536, 257, dtype=np.uint16)[None].repeat(4, 0)
    for format in ("PNG", "TIFF", "PPM"):
        assert decode_image(saved(Image.fromarray(ramp), format), "x")[0, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}])
def test_opencv_and_pillow_decode_a_jpeg_alike(options):
    data = encoded(photo(2, (501, 375)), "JPEG", **options)
    assert np.array_equal(decode_image(data, "x"), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


JPEG = encoded(photo(3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x.jpg: empty \(0 bytes\); fix or remove it"),
        (b"\0" * 500, "x.jpg: not an image"),
        (b"<html>404</html>", "x.jpg: not an image"),
        (JPEG[: len(JPEG) // 2], "x.jpg: damaged or truncated after"),
        (JPEG[:-30], "x.jpg: damaged or truncated after"),
        (JPEG[:200], "x.jpg: "),
        (encoded(photo(3), "PNG")[:3000], "x.jpg: damaged or truncated after 3,000 bytes"),
    ],
)
def test_a_bad_file_is_named(tmp_path, data, message):
    file = tmp_path / "x.jpg"
    file.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_image(file)
    with pytest.raises(DataError) as decoded:
        decode_image(data, "x.jpg")
    assert fault_of(data, "x.jpg") == str(decoded.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.jpg: cannot be read \(No such file"):
        read_image(tmp_path / "none.jpg")


def test_an_image_of_too_many_pixels_is_refused():
    huge = bytearray(saved(Image.new("L", (8, 8))))
    huge[16:24] = (60000).to_bytes(4, "big") * 2  # the size in a PNG's header ...
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")  # ... and its checksum
    with pytest.raises(DataError, match=r"x.png: more than [\d,]+ pixels"):
        decode_image(bytes(huge), "x.png")


def test_a_sound_file_has_no_fault():
    assert fault_of(JPEG, "x") is None
    decode_image(JPEG, "x")
    assert fault_of(trailing_bytes(), "x") is None


def test_damage_in_a_rotated_jpeg_is_treated_as_in_an_upright_one():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    upright, rotated = (saved(pixels, "JPEG", **options) for options in ({}, {"exif": exif}))
    random = np.random.default_rng(1)
    for begin in random.integers(700, len(upright) - 60, 100):
        damage, tail = random.bytes(50), len(upright) - begin
        torn = [data[:-tail] + damage + data[-tail + 50 :] for data in (upright, rotated)]
        assert [fault_of(data, "x") for data in torn] == [None, None]
        assert np.array_equal(decode_image(torn[1], "x"), np.rot90(decode_image(torn[0], "x"), -1))


def test_of_several_pictures_in_a_file_the_first_is_read():
    first, second = (Image.fromarray(photo(number)) for number in (1, 2))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(decode_image(data, "x.jpg"), decode_image(saved(first, "JPEG"), "x.jpg"))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_a_pil_image_without_a_defined_white_is_refused_as_its_file_is(kind):
    image = Image.fromarray(np.full((20, 30), 200, kind))
    for read in (lambda: pixels_of(image), lambda: decode_image(saved(image, "TIFF"), "PIL image")):
        with pytest.raises(DataError, match=r"PIL image: .* have no defined white"):
            read()


DAMAGED_EXIF = b"Exif\0\0XX\x00*\x00\x00\x00\x08"  # neither II nor MM, the two byte orders of TIFF


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_counts_as_none(format, recwarn):
    whole = saved(Image.fromarray(RED), format)
    data = saved(Image.fromarray(RED), format, exif=DAMAGED_EXIF)
    assert data != whole
    np.testing.assert_array_equal(decode_image(data, "x"), decode_image(whole, "x"))
    np.testing.assert_array_equal(pixels_of(Image.open(io.BytesIO(data))), decode_image(whole, "x"))
    assert not recwarn.list


def test_threads_leave_the_warning_filters_as_they_were():
    data, before, interval = encoded(photo(0)), list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: decode_image(data, "x.jpg"), range(2000)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "JPEG", "progressive": True}])
def test_damage_between_a_valid_beginning_and_end_is_found(options):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = bytearray(saved(Image.fromarray(pixels), **options))
    assert fault_of(bytes(data), "x") is None
    random = np.random.default_rng(1)
    refused = 0
    for begin in random.integers(700, len(data) - 60, 100):
        torn = bytes(data[:begin]) + random.bytes(50) + bytes(data[begin + 50 :])
        try:
            decode_image(torn, "x")
        except DataError:
            refused += 1
            assert fault_of(torn, "x") is not None
    assert refused > 5
