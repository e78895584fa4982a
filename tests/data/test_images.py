"""Pixels come back as they were written by others, and no file can do harm."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unetpp.data.images import (
    as_float,
    atomic_path,
    image_size,
    read_image,
    to_channels,
    write_jpeg,
    write_png,
)
from unetpp.data.masks import read_mask
from unetpp.data.regions import open_regions
from unetpp.errors import ImageError, OutputError, UnetppError


def random_pixels(shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_lossless_formats_give_back_their_pixels(suffix, mode, channels, tmp_path):
    pixels = random_pixels((13, 17, 3))[..., : 3 if mode == "RGB" else 1]
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels.squeeze()).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    found = read_image(path)
    assert image_size(path) == (13, 17)
    if suffix == ".webp" and mode == "L":
        found = to_channels(found, 1)
    np.testing.assert_array_equal(found, pixels)


def test_a_jpeg_is_close_to_its_pixels(tmp_path):
    pixels = np.tile(np.arange(0, 240, 4, np.uint8)[:, None, None], (1, 40, 3))
    Image.fromarray(pixels).save(tmp_path / "image.JPG", quality=95)
    assert np.abs(read_image(tmp_path / "image.JPG").astype(int) - pixels).max() < 6


def test_sixteen_bit_png_stays_sixteen_bit(tmp_path):
    pixels = random_pixels((9, 11), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    found = read_image(tmp_path / "deep.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], pixels)


@pytest.mark.parametrize(("shape", "kept"), [((7, 9, 3), 3), ((7, 9, 4), 3), ((7, 9, 2), 1)])
def test_sixteen_bit_colours_stay_sixteen_bit(shape, kept, tmp_path):
    pixels = random_pixels(shape, np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    found = read_image(tmp_path / "a.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, pixels[..., :kept])
    assert image_size(tmp_path / "a.png") == (7, 9)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sixteen_bit_colours_are_turned_as_eight_bit_are(orientation, tmp_path):
    pixels = random_pixels((6, 4, 3))
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * np.uint16(257)))
    # The chunk that says how it is turned, put where the deep picture's end was.
    shallow, deep = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    chunk = shallow[shallow.index(b"eXIf") - 4 :]
    chunk = chunk[: 12 + int.from_bytes(chunk[:4], "big")]
    (tmp_path / "b.png").write_bytes(deep[:33] + chunk + deep[33:])
    found = read_image(tmp_path / "b.png")
    assert found.shape[:2] == image_size(tmp_path / "b.png")
    np.testing.assert_array_equal(found // 257, read_image(tmp_path / "a.png"))


def test_a_mask_of_sixteen_bit_greys_with_opacity_keeps_its_values(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) % 3
    pixels = np.stack([values, np.full_like(values, 65535)], -1)
    (tmp_path / "m.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 3), values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_mask_of_few_bits_keeps_its_values(bits, tmp_path):
    values = random_pixels((5, 16)) % min(2**bits, 11)
    digits = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :]
    rows = np.pad(np.packbits(digits.reshape(5, -1), axis=1), ((0, 0), (1, 0)))
    head = struct.pack(">2I5B", 16, 5, bits, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")):
        png += (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )
    (tmp_path / "m.png").write_bytes(png)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 11), values)
    # To look at, the brightest is white.
    np.testing.assert_array_equal(read_image(tmp_path / "m.png")[..., 0], values * (255 // (2**bits - 1)))


def test_of_a_picture_with_others_embedded_the_first_is_read(tmp_path):
    first, other = (Image.fromarray(random_pixels((16, 24, 3), seed=seed)) for seed in (0, 1))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[other])
    first.save(tmp_path / "b.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))


def test_a_palette_becomes_its_colours(tmp_path):
    write_png(tmp_path / "p.png", np.array([[0, 1]], np.uint8), palette=((1, 2, 3), (200, 100, 50)))
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), [[(1, 2, 3), (200, 100, 50)]])


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_alpha_is_dropped(mode, channels, tmp_path):
    Image.fromarray(random_pixels((6, 7, 4))).convert(mode).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").shape == (6, 7, channels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    pixels = random_pixels((6, 9, 3))
    stored = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    # The EXIF standard: where row 0 and column 0 of what is stored lie in what is seen.
    seen = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.swapaxes(0, 1), 6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(pixels),
    }[orientation]  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), seen)
    assert image_size(tmp_path / "turned.png") == seen.shape[:2]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", [False, True])
def test_tiff_channels_are_read_however_they_are_stored(channels, dtype, planar, tmp_path):
    pixels = random_pixels((8, 10, channels), dtype)
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    axes = {"axes": "CYX" if planar else "YXS"}
    options = {"photometric": "minisblack", "planarconfig": None if planar or channels == 1 else "contig"}
    tifffile.imwrite(tmp_path / "c.tif", stored, metadata=axes, **options)
    found = read_image(tmp_path / "c.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)
    assert image_size(tmp_path / "c.tif") == (8, 10)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "deflate", "jpeg", "packbits"])
def test_compressed_tiff_is_read(compression, tmp_path):
    pixels = np.full((32, 32, 3), 90, np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", pixels, compression=compression, photometric="rgb")
    assert np.abs(read_image(tmp_path / "c.tif").astype(int) - 90).max() <= 2


@pytest.mark.parametrize("opacity", ["assocalpha", "unassalpha", "unspecified"])
def test_opacity_of_a_grey_tiff_is_dropped_and_another_channel_is_not(opacity, tmp_path):
    pixels = random_pixels((13, 17, 2))
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [opacity]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    kept = 2 if opacity == "unspecified" else 1
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels[..., :kept])
    with open_regions(tmp_path / "a.tif") as regions:
        found = regions.read((), slice(0, 13), slice(0, 17))
    np.testing.assert_array_equal(found, pixels[..., :kept])


def test_inks_are_no_colours(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random_pixels((13, 17, 4)), photometric="separated")
    with pytest.raises(ImageError, match="inks"):
        read_image(tmp_path / "a.tif")


def test_white_is_zero_tiff_is_inverted(tmp_path):
    pixels = random_pixels((5, 6))
    tifffile.imwrite(tmp_path / "w.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif")[..., 0], 255 - pixels)


def test_a_mask_of_true_and_false_is_one_where_it_is_true(tmp_path):
    mask = np.eye(6, dtype=bool)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", 2), mask)


def test_a_stack_is_refused_with_its_planes(tmp_path):
    tifffile.imwrite(
        tmp_path / "z.tif", random_pixels((5, 8, 8)), metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    frames = [Image.fromarray(plane) for plane in random_pixels((5, 8, 8))]
    frames[0].save(tmp_path / "z.webp", save_all=True, append_images=frames[1:])
    tifffile.imwrite(tmp_path / "q.tif", random_pixels((5, 2, 8, 8)), photometric="minisblack")
    for name, count in (("z.tif", 5), ("z.webp", 5), ("q.tif", 10)):
        # Its size, too: who asks for that before long work shall hear of it.
        for attempt in (read_image, image_size):
            with pytest.raises(ImageError, match=f"stack of {count} planes"):
                attempt(tmp_path / name)


def test_more_channels_than_sixteen_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "c.tif", random_pixels((17, 8, 8)), metadata={"axes": "CYX"}, photometric="minisblack"
    )
    with pytest.raises(ImageError, match="17 channels"):
        read_image(tmp_path / "c.tif")


def encoded(suffix):
    buffer = io.BytesIO()
    pixels = random_pixels((20, 20, 3))
    if suffix == ".tif":
        tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(pixels).save(buffer, format=Image.registered_extensions()[suffix])
    return buffer.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".png", ".jpg", ".bmp", ".webp", ".tif"]))
def test_no_damage_to_a_file_brings_more_than_an_image_error(data, suffix, tmp_path):
    content = bytearray(encoded(suffix))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(bytes(content))
    for reader in (read_image, image_size):
        try:
            found = reader(path)
        except UnetppError as error:
            assert str(path) in str(error)
        else:
            assert len(found) >= 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_half_a_file_is_refused(suffix, tmp_path):
    content = encoded(suffix)
    (tmp_path / f"half{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=f"half{suffix}: the image is damaged"):
        read_image(tmp_path / f"half{suffix}")


def test_sixteen_and_eight_bit_share_a_scale():
    assert as_float(np.array([255], np.uint8)) == as_float(np.array([65535], np.uint16)) == 1
    assert as_float(np.array([-3.5], np.float32)) == -3.5


def test_channels_are_never_guessed():
    grey = random_pixels((4, 5, 1))
    np.testing.assert_array_equal(to_channels(grey, 3), np.concatenate([grey] * 3, -1))
    np.testing.assert_array_equal(to_channels(to_channels(grey, 3), 1), grey)
    for have, want in ((3, 1), (3, 4), (4, 3), (2, 1)):
        with pytest.raises(ImageError, match=f"{have} channels.* {want}"):
            to_channels(random_pixels((4, 5, have)), want)


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match="No space left"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter", ["a", "日"])
def test_a_name_may_be_as_long_as_names_may_be(letter, tmp_path):
    longest = tmp_path / (letter * (251 // len(letter.encode())) + ".png")
    write_png(longest, random_pixels((4, 4)))
    assert [path.name for path in tmp_path.iterdir()] == [longest.name]


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), atomic_path(tmp_path / "file" / "below.txt") as temporary:
        temporary.write_text("x")


def test_a_jpeg_keeps_contours_of_one_pixel(tmp_path):
    picture = np.full((64, 64, 3), 40, np.uint8)
    picture[20, 5:60], picture[5:60, 30] = (230, 57, 70), (255, 214, 10)
    write_jpeg(tmp_path / "new" / "p.jpg", picture)
    found = np.asarray(Image.open(tmp_path / "new" / "p.jpg")).astype(int)
    assert np.abs(found - picture).max() < 40
    assert np.abs(found - picture).mean() < 2


def test_a_picture_longer_than_a_jpeg_can_be_is_scaled_down(tmp_path):
    write_jpeg(tmp_path / "long.jpg", np.full((10, 70_000, 3), 99, np.uint8))
    assert image_size(tmp_path / "long.jpg") == (5, 35_000)


@pytest.mark.parametrize(("kind", "highest"), [("u1", 255), ("u2", 65535)])
@pytest.mark.parametrize("order", "<>")
def test_bytes_of_any_order_are_the_same_numbers(kind, highest, order):
    pixels = np.array([0, 1, highest // 5, highest], order + kind)
    np.testing.assert_allclose(as_float(pixels), [0, 1 / highest, 0.2, 1], rtol=1e-6)
