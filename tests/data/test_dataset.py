"""Masks mean what they say; images and masks are paired without guessing."""

import numpy as np
import pytest
from pairs import put
from PIL import Image

from unetpp.analysis.rules import Rules
from unetpp.data.dataset import (
    MASK_SUFFIXES,
    Sample,
    check_class_names,
    count_pixels,
    data_channels,
    find_samples,
    infer_classes,
    measure_normalization,
    object_sides,
    read_class_names,
)
from unetpp.data.images import write_png
from unetpp.data.masks import mask_values, read_mask
from unetpp.errors import DatasetError, MaskError


def test_a_palette_mask_is_its_indices(tmp_path):
    indices = np.array([[0, 1, 2]], np.uint8)
    write_png(tmp_path / "m.png", indices, palette=((9, 9, 9), (200, 0, 0), (0, 200, 0)))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 3), indices)


def test_zero_and_255_mean_two_classes_only(tmp_path):
    put(tmp_path, "m.png", value=255)
    assert read_mask(tmp_path / "m.png", 2).max() == 1
    with pytest.raises(MaskError, match=r"255 \(48 pixels\)"):
        read_mask(tmp_path / "m.png", 3)


def test_three_equal_channels_are_one_and_colours_are_refused(tmp_path):
    grey = np.repeat(np.array([[[0], [1]]], np.uint8), 3, -1)
    write_png(tmp_path / "grey.png", grey)
    assert mask_values(tmp_path / "grey.png") == {0: 1, 1: 1}
    write_png(tmp_path / "colour.png", np.array([[[1, 2, 3]]], np.uint8))
    with pytest.raises(MaskError, match="colour picture"):
        read_mask(tmp_path / "colour.png", 3)


def test_stray_values_are_named_with_their_pixels(tmp_path):
    mask = np.zeros((5, 5), np.uint8)
    mask[0, :3], mask[1, 0] = 7, 200
    write_png(tmp_path / "m.png", mask)
    with pytest.raises(MaskError, match=r"7 \(3 pixels\), 200 \(1 pixels\).*0 to 2"):
        read_mask(tmp_path / "m.png", 3)


def test_formats_are_mixed_and_sub_folders_mirrored(tmp_path):
    put(tmp_path / "images", "a.png", "day/b.bmp", "c.tif")
    put(tmp_path / "masks", "a.png", "day/b.png", "c.bmp", ".hidden.png")
    assert [sample.stem for sample in find_samples(tmp_path)] == ["a", "c", "day/b"]


# One name, as Linux and Windows write it and as a Mac may.
ONE, OTHER = "Möhre 1", "Mo\u0308hre 1"


@pytest.mark.parametrize("folders", [("images", "masks"), (".", ".")])
def test_a_name_is_one_however_its_accents_are_written(folders, tmp_path):
    ending = "" if folders[0] == "images" else "_mask"
    put(tmp_path / folders[0], f"{ONE}.png", f"{OTHER}2.png")
    put(tmp_path / folders[1], f"{OTHER}{ending}.png", f"{ONE}2{ending}.png")
    samples = find_samples(tmp_path)
    assert [sample.stem for sample in samples] == [ONE, f"{ONE}2"]
    assert [sample.image.name for sample in samples] == [f"{ONE}.png", f"{OTHER}2.png"]


def test_masks_lie_side_by_side_with_a_suffix(tmp_path):
    put(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png")
    assert [(s.image.name, s.mask.name) for s in find_samples(tmp_path)] == [
        ("a.png", "a_mask.png"),
        ("b.png", "b_mask.png"),
    ]


def test_of_two_folders_only_masks_with_the_suffix_are_masks(tmp_path):
    put(tmp_path / "i", "a.png")
    put(tmp_path / "m", "a-mask.png", "a.png")
    (sample,) = find_samples(tmp_path, images=tmp_path / "i", masks=tmp_path / "m", mask_suffix="-mask")
    assert sample.mask.name == "a-mask.png"


def test_two_folders_are_given(tmp_path):
    put(tmp_path / "x", "a.png")
    put(tmp_path / "y", "a_truth.png")
    found = find_samples(tmp_path, images=tmp_path / "x", masks=tmp_path / "y", mask_suffix="_truth")
    assert [sample.stem for sample in found] == ["a"]


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["a.png"], [], "1 image without mask"),
        ([], ["a.png"], "no images"),
        (["a.png"], ["a.png", "b.png", "c.png"], r"2 masks without image \(b.png, c.png\)"),
        (["a.png", "a.bmp"], ["a.png"], "same stem"),
    ],
)
def test_what_cannot_be_paired_is_refused_by_name(images, masks, message, tmp_path):
    for kind, names in (("images", images), ("masks", masks)):
        (tmp_path / kind).mkdir()
        put(tmp_path / kind, *names)
    with pytest.raises(DatasetError, match=message):
        find_samples(tmp_path)


def test_a_folder_without_masks_is_refused(tmp_path):
    put(tmp_path, "a.png")
    with pytest.raises(DatasetError, match="no masks are here"):
        find_samples(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        find_samples(tmp_path / "nowhere")


def samples_with(tmp_path, values):
    for k, value in enumerate(values):
        put(tmp_path / "images", f"{k}.png", value=50 + k)
        put(tmp_path / "masks", f"{k}.png", value=value)
    return find_samples(tmp_path)


def test_classes_are_counted_where_they_are_not_named(tmp_path):
    assert infer_classes(samples_with(tmp_path, [0, 1, 2])) == ("background", "class_1", "class_2")
    assert infer_classes([], ["nothing", "cell"]) == ("nothing", "cell")


def test_values_with_gaps_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"0, 1, 7, not 0, 1, 2.*--classes"):
        infer_classes(samples_with(tmp_path, [0, 1, 7]))


def test_pixels_are_counted_image_by_image(tmp_path):
    np.testing.assert_array_equal(count_pixels(samples_with(tmp_path, [0, 2]), 3), [[48, 0, 0], [0, 0, 48]])


def test_normalization_is_mean_and_deviation_over_all_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 10, 12, 3), np.uint8)
    for k in range(3):
        write_png(tmp_path / "images" / f"{k}.png", pixels[k])
        put(tmp_path / "masks", f"{k}.png", size=(10, 12))
    samples = find_samples(tmp_path)
    found = measure_normalization(samples, data_channels(samples))
    np.testing.assert_allclose(found.mean, pixels.mean((0, 1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(found.std, pixels.std((0, 1, 2)) / 255, rtol=1e-5)


def test_a_constant_channel_has_deviation_one(tmp_path):
    put(tmp_path / "images", "a.png", value=51)
    put(tmp_path / "masks", "a.png")
    assert measure_normalization(find_samples(tmp_path), 1).std == (1.0,)


def test_objects_are_measured_as_squares(tmp_path):
    mask = np.zeros((60, 60), np.uint8)
    mask[2:12, 2:12], mask[20:40, 20:40], mask[45:57, 2:32], mask[0, 59] = 1, 2, 1, 1
    write_png(tmp_path / "m.png", mask)
    write_png(tmp_path / "empty.png", np.zeros((9, 9), np.uint8))
    found = object_sides(
        [Sample("a", tmp_path, tmp_path / "m.png"), Sample("b", tmp_path, tmp_path / "empty.png")], 3
    )
    assert found == [pytest.approx(np.sqrt(360)), 0.0]


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (None, True),
        ("soil,cell", True),
        ("Boden,Zelle", True),
        ("cell,soil", False),
        ("soil,cell,rod", False),
    ],
)
def test_class_names_are_held_against_a_model_s(names, fits, tmp_path):
    if names:
        (tmp_path / "classes.txt").write_text(names.replace(",", "\n"))
    if fits:
        check_class_names(tmp_path, ("soil", "cell"))
    else:
        with pytest.raises(DatasetError, match="the model's soil, cell"):
            check_class_names(tmp_path, ("soil", "cell"))


def test_class_names_are_read_as_editors_write_them(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffbackground\r\nBlutkörperchen\r\n".encode())
    assert read_class_names(tmp_path) == ("background", "Blutkörperchen")
    path.write_bytes("background\nBlutko\u0308rperchen\n".encode())
    assert read_class_names(tmp_path) == ("background", "Blutkörperchen")
    assert Rules(split=("Blutko\u0308rperchen",)).indices(read_class_names(tmp_path))["split"] == [1]
    path.write_bytes("Blutkörperchen".encode("latin-1"))
    with pytest.raises(DatasetError, match="no UTF-8"):
        read_class_names(tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "saying"),
    [
        ("m.jpg", {"format": "JPEG"}, "JPEG"),
        ("m.JPEG", {"format": "JPEG"}, "JPEG"),
        ("m.png", {"format": "JPEG"}, "JPEG"),
        ("m.webp", {"format": "WEBP"}, "lossy WebP"),
        ("m.tif", {"format": "TIFF", "compression": "jpeg"}, "JPEG in TIFF"),
    ],
)
def test_a_lossy_mask_is_refused_whatever_it_is_called(name, options, saying, tmp_path):
    put(tmp_path / "images", "m.png")
    (tmp_path / "masks").mkdir()
    picture = Image.fromarray(np.full((6, 8), 1, np.uint8))
    picture.save(tmp_path / "masks" / name, **options)
    for read in (mask_values, lambda path: find_samples(tmp_path)):
        with pytest.raises(
            MaskError, match=f"{saying} changes pixel values; save masks as PNG or plain TIFF"
        ):
            read(tmp_path / "masks" / name)


def test_masks_of_compressed_tiff_are_a_data_set(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
            Image.fromarray(np.full((6, 8), 1, np.uint8)).save(
                tmp_path / kind / f"{how}.tif", compression=how
            )
    assert all(read_mask(sample.mask, 2).all() for sample in find_samples(tmp_path))


def test_numbers_of_objects_in_jpeg_are_refused(tmp_path):
    put(tmp_path / "images", "m.png")
    put(tmp_path / "masks", "m.png")
    (tmp_path / "numbers").mkdir()
    Image.fromarray(np.full((6, 8), 1, np.uint8)).save(tmp_path / "numbers" / "m.jpg")
    with pytest.raises(MaskError, match="JPEG changes pixel values"):
        find_samples(tmp_path, instances=tmp_path / "numbers")


def test_images_of_jpeg_and_masks_of_lossless_webp_are_a_data_set(tmp_path):
    for kind, suffix, options in (("images", ".jpg", {}), ("masks", ".webp", {"lossless": True})):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((6, 8), 1, np.uint8)).save(tmp_path / kind / f"m{suffix}", **options)
    assert [sample.mask.name for sample in find_samples(tmp_path)] == ["m.webp"]
    assert mask_values(tmp_path / "masks" / "m.webp") == {1: 48}


@pytest.mark.parametrize("values", [(0, 127, 254), (0, 128)])
def test_values_that_no_classes_can_have_are_to_be_numbered_anew(values, tmp_path):
    samples = samples_with(tmp_path, values)
    for refused in (lambda: infer_classes(samples), lambda: count_pixels(samples, len(values))):
        with pytest.raises((DatasetError, MaskError), match="number classes 0, 1, 2") as error:
            refused()
        assert "--classes" not in str(error.value)
    assert count_pixels(samples_with(tmp_path / "two", [0, 255]), 2).tolist() == [[48, 0], [0, 48]]


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_masks_of_another_folder_with_a_suffix_are_told_by_it(suffix, tmp_path):
    put(tmp_path / "images", "a.png", "b.png", "c.png")
    put(tmp_path / "masks", f"a{suffix}.png", f"b{suffix}.png", "c.png")
    with pytest.raises(DatasetError, match=f"2 images without mask .*; give --mask-suffix {suffix}$"):
        find_samples(tmp_path)
    (tmp_path / "masks" / f"b{suffix}.png").unlink()
    with pytest.raises(DatasetError, match="add the mask of the same name"):
        find_samples(tmp_path)


def test_numbers_of_objects_have_no_suffix_to_be_told_by(tmp_path):
    put(tmp_path / "images", "a.png")
    put(tmp_path / "masks", "a.png")
    put(tmp_path / "numbers", "a_label.png")
    with pytest.raises(DatasetError, match="add the label image of objects of the same name"):
        find_samples(tmp_path, instances=tmp_path / "numbers")


def test_colours_that_are_numbered_file_by_file_are_refused(tmp_path):
    black, red, yellow = (0, 0, 0), (255, 0, 0), (255, 255, 0)
    both, background, cells = [black, red, yellow], [black], [black, red]
    shown = {"a": [both, [0, 1, 2]], "b": [background, [0, 0, 0]], "c": [cells, [0, 1, 1]]}
    for name, (palette, indices) in shown.items():
        put(tmp_path / "images", f"{name}.png")
        write_png(tmp_path / "masks" / f"{name}.png", np.array([indices], np.uint8), palette)
    # A palette may lack colours, and have others that no pixel has.
    write_png(tmp_path / "masks" / "b.png", np.zeros((1, 3), np.uint8), [black, yellow, red])
    assert len(find_samples(tmp_path)) == 3
    # The same pictures: yellow is the second colour of the one that shows no red.
    write_png(tmp_path / "masks" / "c.png", np.array([[0, 1, 1]], np.uint8), [black, yellow])
    with pytest.raises(MaskError, match=r"c\.png: .*#ffff00 the number 1, that of .*a\.png 2;"):
        find_samples(tmp_path)
