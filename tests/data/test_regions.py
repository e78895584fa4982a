"""A region of a file is the region of its pixels, however they are stored."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetpp.data.images import image_size, read_image, write_png
from unetpp.data.masks import read_indices
from unetpp.data.regions import kept_open, open_regions
from unetpp.errors import ImageError

zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")


def read(path, *region):
    with open_regions(path) as regions:
        return regions.read(*region)


RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (150, 210, 3), np.uint8)
ROWS, COLUMNS = slice(33, 101), slice(50, 203)

STORED = {
    "plain": {},
    "bigtiff": {"bigtiff": True},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (64, 32), "compression": "lzw"},
    "jpeg2000": {"tile": (64, 64), "compression": "jpeg2000"},
    "big endian": {"byteorder": ">"},
    "plane by plane": {"planarconfig": "separate", "tile": (32, 32)},
}


@pytest.mark.parametrize("how", STORED)
def test_a_region_is_read_however_a_tiff_is_stored(how, tmp_path):
    options = dict(STORED[how])
    pixels = RGB if how != "plane by plane" else np.moveaxis(RGB, -1, 0).copy()
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    with open_regions(tmp_path / "a.tif") as regions:
        assert (regions.size, regions.plane_shape) == ((150, 210), ())
        np.testing.assert_array_equal(regions.read((), ROWS, COLUMNS), RGB[ROWS, COLUMNS])
        np.testing.assert_array_equal(
            regions.read((), slice(0, 150), slice(0, 210)), read_image(tmp_path / "a.tif")
        )


@pytest.mark.parametrize(
    ("dtype", "photometric"), [("uint16", "minisblack"), ("uint8", "miniswhite"), ("float32", "minisblack")]
)
def test_grey_values_are_those_of_a_whole_image(dtype, photometric, tmp_path):
    pixels = RNG.integers(0, 200, (40, 50)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, tile=(16, 16))
    found = read(tmp_path / "a.tif", (), slice(3, 20), slice(5, 50))
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.tif")[3:20, 5:50])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_values_are_those_of_a_whole_image_in_either_byte_order(dtype, byteorder, tmp_path):
    pixels = RNG.integers(0, 200, (40, 50)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=byteorder)
    found, whole = read(tmp_path / "a.tif", (), slice(3, 20), slice(5, 50)), read_image(tmp_path / "a.tif")
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[3:20, 5:50])


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_greys_of_four_bits_are_as_pillow_shows_them(photometric, tmp_path):
    values = RNG.integers(0, 16, (40, 50), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values[:, ::2] << 4 | values[:, 1::2], photometric=photometric)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["BitsPerSample"].overwrite(4)
        file.pages[0].tags["ImageWidth"].overwrite(50)
    shown = np.array(Image.open(path).convert("L"))
    np.testing.assert_array_equal(read_image(path)[..., 0], shown)
    np.testing.assert_array_equal(read(path, (), slice(0, 40), slice(0, 50))[..., 0], shown)


def test_real_numbers_of_which_0_is_white_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RNG.random((9, 8), np.float32), photometric="miniswhite")
    for attempt in (read_image, lambda path: read(path, (), slice(9), slice(8))):
        with pytest.raises(ImageError, match="0 is white"):
            attempt(tmp_path / "a.tif")


@pytest.mark.parametrize("turn", [1, 2, 6])
def test_a_tiff_that_is_to_be_turned_is_refused(turn, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB[:6, :9, 0] % 2, extratags=[(274, "H", 1, turn, True)])
    for attempt in (read_image, read_indices, image_size, lambda path: read(path, (), slice(6), slice(9))):
        refused = pytest.raises(ImageError, match=f"to be turned \\(orientation {turn}\\)")
        with refused if turn > 1 else nullcontext():
            attempt(path)


SET = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{me}">{images}</OME>"""
ONE = """<Image ID="Image:{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYCZT" Type="uint8" SizeX="7" SizeY="6"
SizeC="1" SizeZ="1" SizeT="1"><Channel ID="Channel:{k}:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1">
<UUID FileName="{k}.ome.tif">urn:uuid:{k}</UUID></TiffData></Pixels></Image>"""


def test_each_file_of_a_set_that_describes_all_holds_its_own_image(tmp_path):
    images = "".join(ONE.format(k=k) for k in range(2))
    for k in range(2):
        options = {"description": SET.format(me=k, images=images), "metadata": None, "compression": "zlib"}
        tifffile.imwrite(tmp_path / f"{k}.ome.tif", np.full((6, 7), 50 + k, np.uint8), **options)
    for k in range(2):
        path = tmp_path / f"{k}.ome.tif"
        assert set(read_image(path).ravel()) == {50 + k}
        assert set(read(path, (), slice(0, 6), slice(0, 7)).ravel()) == {50 + k}


def test_the_first_of_the_files_that_share_an_image_stands_for_all(tmp_path):
    planes = "".join(
        f'<TiffData FirstT="{k}" IFD="0" PlaneCount="1"><UUID FileName="{k}.ome.tif">urn:uuid:{k}</UUID></TiffData>'
        for k in range(3)
    )
    image = ONE.format(k=0).replace('SizeT="1"', 'SizeT="3"')
    image = image[: image.index("<TiffData")] + planes + "</Pixels></Image>"
    for k in range(3):
        options = {"description": SET.format(me=k, images=image), "metadata": None}
        tifffile.imwrite(tmp_path / f"{k}.ome.tif", np.full((6, 7), 50 + k, np.uint8), **options)
    whole = slice(0, 6), slice(0, 7)
    assert [set(read(tmp_path / "0.ome.tif", (t,), *whole).ravel()) for t in range(3)] == [{50}, {51}, {52}]
    for k in (1, 2):
        for attempt in (read_image, image_size, lambda path: read(path, (0,), *whole)):
            with pytest.raises(ImageError, match=r"a part of what begins in 0\.ome\.tif"):
                attempt(tmp_path / f"{k}.ome.tif")
    for gone, left, count in ((2, 0, 1), (0, 1, 2)):
        (tmp_path / f"{gone}.ome.tif").unlink()
        with pytest.raises(ImageError, match=rf"{count} of the 3 planes .* are missing"):
            read(tmp_path / f"{left}.ome.tif", (0,), *whole)


@pytest.mark.parametrize(
    "how",
    [
        {"ome": True, "metadata": {"axes": "TZYX"}},
        {"ome": True, "metadata": {"axes": "TZYX"}, "bigtiff": True, "compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "TZYX"}},
        {"metadata": {"axes": "TZYX"}, "byteorder": ">"},
        {"metadata": None, "compression": "zlib"},
    ],
    ids=["ome", "bigtiff", "imagej", "shaped", "pages"],
)
def test_a_stack_that_is_cut_off_is_refused_wherever_it_is(how, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RNG.integers(0, 256, (3, 2, 40, 50), np.uint8), photometric="minisblack", **how)
    with open_regions(path) as regions:
        last = tuple(count - 1 for count in regions.plane_shape)
    content = path.read_bytes()
    for share in (0.99, 0.9, 0.6, 0.3):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ImageError, match=r"cut off|damaged"):
            read(path, last, slice(40), slice(50))


def test_of_a_large_stack_of_imagej_planes_are_missed_though_only_the_first_is_described(tmp_path):
    plane = RNG.integers(0, 256, (40, 50), np.uint8)
    # A single plane that has kept what was said of its stack, and more than 4 GB.
    for images in (2, 2_200_000):
        said = f"ImageJ=1.54f\nimages={images}\nframes={images}\n"
        tifffile.imwrite(tmp_path / f"{images}.tif", plane, description=said, metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "2.tif", (), slice(40), slice(50))[..., 0], plane)
    with pytest.raises(ImageError, match="cut off"):
        image_size(tmp_path / "2200000.tif")


def test_planes_of_which_an_ome_tiff_only_tells_are_missed(tmp_path):
    image = ONE.format(k=0).replace('SizeT="1"', 'SizeT="3"')
    options = {"description": SET.format(me=0, images=image), "metadata": None}
    tifffile.imwrite(tmp_path / "0.ome.tif", np.ones((6, 7), np.uint8), **options)
    for attempt in (read_image, image_size, lambda path: read(path, (0,), slice(6), slice(7))):
        with pytest.raises(ImageError, match=r"2 of the 3 planes .* are missing"):
            attempt(tmp_path / "0.ome.tif")


def test_several_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for k in range(3):
            file.write(np.full((6, 7), k, np.uint8))
    for attempt in (read_image, image_size, lambda path: read(path, (), slice(6), slice(7))):
        with pytest.raises(ImageError, match="holds 3 images"):
            attempt(tmp_path / "a.ome.tif")


def test_a_picture_that_many_threads_want_is_decoded_once(tmp_path):
    write_png(tmp_path / "a.png", RGB)
    start = threading.Barrier(4)

    def pixels():
        start.wait()
        with open_regions(tmp_path / "a.png") as regions:
            return regions.pixels

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(pixels) for _ in range(4)]
    assert len({id(future.result()) for future in futures}) == 1


def test_an_image_stays_open_until_a_thread_wants_another_or_ends(tmp_path, monkeypatch):
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", RGB, tile=(32, 32), compression="zlib", photometric="rgb")
    opened = []

    class Watched(tifffile.TiffFile):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            opened.append(self)

    monkeypatch.setattr(tifffile, "TiffFile", Watched)

    def work():
        for name in "aab":
            found = kept_open(tmp_path / f"{name}.tif").read((), ROWS, COLUMNS)
            np.testing.assert_array_equal(found, RGB[ROWS, COLUMNS])
        return [file.filehandle.closed for file in opened]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == [True, False]
    assert [file.filehandle.closed for file in opened] == [True, True]


def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    for k in range(3):
        tifffile.imwrite(tmp_path / "new.tif", np.full((9, 8), k, np.uint8), compression="zlib")
        os.utime(tmp_path / "new.tif", ns=(k, k))
        (tmp_path / "new.tif").replace(tmp_path / "a.tif")
        assert kept_open(tmp_path / "a.tif").read((), slice(9), slice(8)).max() == k


def test_a_file_that_is_gone_is_said_to_be(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    kept_open(tmp_path / "a.tif")
    (tmp_path / "a.tif").unlink()
    for _ in range(2):
        with pytest.raises(ImageError, match=r"a\.tif"):
            kept_open(tmp_path / "a.tif")


def test_opacity_is_left_out(tmp_path):
    pixels = np.dstack([RGB, RGB[..., :1]])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read(tmp_path / "a.tif", (), ROWS, COLUMNS), RGB[ROWS, COLUMNS])


def test_a_pyramid_is_read_at_full_resolution(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(RGB, subifds=1, tile=(32, 32), photometric="rgb")
        file.write(RGB[::2, ::2], subfiletype=1, tile=(32, 32), photometric="rgb")
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif", (), ROWS, COLUMNS), RGB[ROWS, COLUMNS])


def test_planes_of_a_stack_are_told_apart(tmp_path):
    stack = RNG.integers(0, 65535, (2, 4, 3, 40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "TZCYX"}, photometric="minisblack")
    with open_regions(tmp_path / "a.ome.tif") as regions:
        assert (regions.plane_axes, regions.plane_shape) == ("TZ", (2, 4))
        found = regions.read((1, 2), slice(3, 20), slice(5, 50))
        np.testing.assert_array_equal(found, np.moveaxis(stack[1, 2, :, 3:20, 5:50], 0, -1))


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_is_read_by_region(version, tmp_path):
    stack = RNG.integers(0, 255, (3, 5, 40, 50)).astype(np.uint8)
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    group.create_array("0", data=stack, chunks=(1, 1, 16, 16))
    scales = [{"axes": [{"name": name} for name in "czyx"], "datasets": [{"path": "0"}]}]
    group.attrs.update({"multiscales": scales} if version == 2 else {"ome": {"multiscales": scales}})
    with open_regions(tmp_path / "a.zarr") as regions:
        assert (regions.plane_axes, regions.plane_shape) == ("Z", (5,))
        found = regions.read((4,), slice(3, 20), slice(5, 50))
        np.testing.assert_array_equal(found, np.moveaxis(stack[:, 4, 3:20, 5:50], 0, -1))


def test_other_images_are_read_whole(tmp_path):
    write_png(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read(tmp_path / "a.png", (), ROWS, COLUMNS), RGB[ROWS, COLUMNS])


def test_a_damaged_region_is_reported_with_its_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, tile=(32, 32), compression="zlib", photometric="rgb")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:5000] + bytes(len(content) - 5000))
    with pytest.raises(ImageError, match=r"a\.tif"):
        read(tmp_path / "a.tif", (), slice(0, 150), slice(0, 210))


def test_infinite_pixels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0.0, np.inf]], np.float32))
    with pytest.raises(ImageError, match="1 values are NaN or infinite"):
        read(tmp_path / "a.tif", (), slice(0, 1), slice(0, 2))


def saved_as_zarr(path, pixels, axes):
    group = zarr.create_group(path)
    group.create_array("0", data=pixels)
    group.attrs.update({"ome": {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}})


def test_the_axes_of_an_ome_zarr_are_told_by_their_types(tmp_path):
    types = {"moment": "time", "channel": "channel", "y": "space", "x": "space"}
    pixels = RNG.integers(0, 255, (2, 3, 40, 50)).astype(np.uint8)
    saved_as_zarr(tmp_path / "a.zarr", pixels, [{"name": n, "type": t} for n, t in types.items()])
    with open_regions(tmp_path / "a.zarr") as regions:
        assert (regions.plane_axes, regions.plane_shape) == ("T", (2,))
        found = regions.read((1,), slice(3, 20), slice(5, 50))
        np.testing.assert_array_equal(found, np.moveaxis(pixels[1, :, 3:20, 5:50], 0, -1))


@pytest.mark.parametrize("names", [("row", "column"), ("y", "y"), ("z", "y", "x")])
def test_axes_without_one_y_and_one_x_are_refused(names, tmp_path):
    saved_as_zarr(tmp_path / "a.zarr", np.zeros((40, 50), np.uint8), [{"name": name} for name in names])
    with pytest.raises(ImageError, match=f"its 2 axes are named {', '.join(names)}"):
        read(tmp_path / "a.zarr", (), ROWS, COLUMNS)


def test_a_zarr_folder_without_an_image_is_refused(tmp_path):
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(ImageError, match="no multiscales"):
        read(tmp_path / "a.zarr", (), ROWS, COLUMNS)


def saved_collection(path, version, said):
    """A Zarr group, with groups in it, by their paths and what each says of itself."""
    root = zarr.create_group(path, zarr_format=version)
    for name, attributes in said.items():
        group = root.create_group(name) if name else root
        group.attrs.update(attributes if version == 2 else {"ome": attributes})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"": {"bioformats2raw.layout": 3}, "OME": {}, "0": {}, "1": {}}, "0"),
        ({"": {"well": {"images": [{"path": "gone"}, {"path": "0"}]}}, "0": {}}, "0"),
        (
            {
                "": {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}},
                "B/2": {"well": {"images": [{"path": "1"}]}},
                "B/2/1": {},
            },
            "B/2/1",
        ),
    ],
)
def test_one_of_several_images_of_an_ome_zarr_is_named(version, said, named, tmp_path):
    saved_collection(tmp_path / "a.zarr", version, said)
    with pytest.raises(ImageError, match="several images") as caught:
        read(tmp_path / "a.zarr", (), ROWS, COLUMNS)
    assert caught.value.mend.endswith(f"such as {tmp_path / 'a.zarr' / named}")
