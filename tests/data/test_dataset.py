"""Masks mean what they say; images and masks are paired without guessing and split without leaks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unetpp.data.dataset import (
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
from unetpp.data.groups import duplicate_groups, find_groups, fold_of_each, split
from unetpp.data.images import write_png
from unetpp.data.masks import mask_values, read_mask
from unetpp.errors import DatasetError, MaskError

REAL = Path(__file__).parents[3] / "shared" / "data" / "darkfield"


def put(folder, *names, value=0, size=(6, 8)):
    for name in names:
        write_png(folder / name, np.full(size, value, np.uint8))


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


def textured(seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 6)
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def test_the_same_scene_in_another_size_is_a_duplicate(tmp_path):
    for k in range(8):
        write_png(tmp_path / "images" / f"{k}.png", textured(k))
    Image.fromarray(textured(3)).resize((120, 90)).save(tmp_path / "images" / "again.png")
    for path in (tmp_path / "images").iterdir():
        put(tmp_path / "masks", path.name)
    samples = find_samples(tmp_path)
    groups = dict(zip([sample.stem for sample in samples], duplicate_groups(samples), strict=True))
    assert groups["again"] == groups["3"]
    assert len(set(groups.values())) == 8


def test_images_that_are_mostly_alike_in_being_empty_are_no_duplicates(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(20):
        image = np.zeros((256, 256), np.uint8)
        for row, column in rng.integers(4, 248, (3, 2)):
            image[row : row + 4, column : column + 4] = 255
        write_png(tmp_path / "images" / f"{k}.png", image)
    for name in ("black", "black_too"):
        write_png(tmp_path / "images" / f"{name}.png", np.zeros((256, 256), np.uint8))
    for path in (tmp_path / "images").iterdir():
        put(tmp_path / "masks", path.name)
    found = partition(find_samples(tmp_path), duplicate_groups(find_samples(tmp_path)))
    assert len(found) == 21
    assert ["black", "black_too"] in found


@pytest.mark.skipif(not REAL.is_dir(), reason="the real micrographs are not part of the project")
def test_the_micrographs_that_occur_twice_are_found():
    samples = find_samples(REAL)
    groups = dict(zip([sample.stem for sample in samples], duplicate_groups(samples), strict=True))
    assert groups["071"] == groups["073"]
    assert groups["263"] == groups["331"]
    assert len(set(groups.values())) > 280


@given(
    presence=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
    group_of=st.integers(1, 5),
)
def test_splits_are_whole_disjoint_repeatable_and_keep_groups(presence, share, seed, group_of):
    samples = [Sample(f"{k:03}", Path("i"), Path("m")) for k in range(len(presence))]
    counts = np.array([(1, *row) for row in presence])
    groups = [min(k // group_of, (len(samples) - 2) // group_of + 1) for k in range(len(samples))]
    if len(set(groups)) < 2:
        with pytest.raises(DatasetError, match="cannot be split"):
            split(samples, counts, validation=share, seed=seed, groups=groups)
        return
    shown = np.array([counts[np.equal(groups, g)].any(0) for g in sorted(set(groups))])
    if ((shown.sum(0) == 1) & shown).any(1).all():
        with pytest.raises(DatasetError, match="each alone shows a class"):
            split(samples, counts, validation=share, seed=seed, groups=groups)
        return
    train, held = split(samples, counts, validation=share, seed=seed, groups=groups)
    assert train
    assert held
    assert sorted([*train, *held], key=lambda s: s.stem) == samples
    sides = {groups[samples.index(s)] for s in train} & {groups[samples.index(s)] for s in held}
    assert not sides
    np.testing.assert_array_equal(counts[[samples.index(s) for s in train]].any(0), counts.any(0))
    order = np.random.default_rng(1).permutation(len(samples))
    again = split(
        [samples[k] for k in order],
        counts[order],
        validation=share,
        seed=seed,
        groups=[groups[k] for k in order],
    )
    assert again == (train, held)


def test_both_sides_show_the_classes_alike():
    samples = [Sample(f"{k:03}", Path("i"), Path("m")) for k in range(200)]
    counts = np.array([(1, k % 2, k % 5 == 0) for k in range(200)])
    _, held = split(samples, counts, validation=0.2)
    shown = np.array([counts[int(s.stem)] for s in held])
    assert len(held) == pytest.approx(40, abs=2)
    np.testing.assert_allclose(shown.mean(0), counts.mean(0), atol=0.06)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.75, 0.99])
def test_neither_side_is_ever_empty(share):
    samples = [Sample(name, Path("i"), Path("m")) for name in "ab"]
    train, held = split(samples, np.ones((2, 2)), validation=share)
    assert len(train) == len(held) == 1


@given(
    former=st.lists(st.sampled_from([None, True, False]), min_size=3, max_size=60), share=st.floats(0.05, 0.9)
)
def test_what_was_trained_on_or_held_out_before_stays_so_and_the_share_is_one_of_the_new(former, share):
    samples = [Sample(f"{k:03}", Path("i"), Path("m")) for k in range(len(former))]
    counts = np.ones((len(former), 2), int)
    if set(former) == {False}:
        with pytest.raises(DatasetError, match="trained on already"):
            split(samples, counts, validation=share, former=former)
        return
    _, held = split(samples, counts, validation=share, former=former)
    sides = [former[samples.index(sample)] for sample in held]
    assert held
    assert False not in sides
    # One at least is trained on.
    assert sides.count(True) == former.count(True) - (set(former) == {True})
    if True in former and False in former:
        assert sides.count(None) == pytest.approx(share * former.count(None), abs=1)


def test_a_split_of_the_same_images_is_the_same_again():
    samples = [Sample(f"{k:03}", Path("i"), Path("m")) for k in range(100)]
    counts = np.ones((100, 2), int)
    train, held = split(samples, counts)
    former = [sample in held for sample in samples]
    assert split(samples, counts, former=former, seed=5, validation=0.3) == (train, held)


def test_one_image_alone_is_refused():
    with pytest.raises(DatasetError, match="cannot be split"):
        split([Sample("a", Path("i"), Path("m"))], np.ones((1, 2)))


def drawn_samples(folder, names):
    for k, name in enumerate(names):
        write_png(folder / "images" / f"{name}.png", textured(k))
    put(folder / "masks", *(f"{name}.png" for name in names))
    return find_samples(folder)


def partition(samples, groups):
    """The sets of stems that share a group."""
    sets = {}
    for sample, group in zip(samples, groups, strict=True):
        sets.setdefault(group, set()).add(sample.stem)
    return sorted(map(sorted, sets.values()))


NAMES = ("s1_a", "s1_b", "s2_a", "s2_b", "s3_a")


@pytest.mark.parametrize("pattern", [r"^(s\d)_", r"^s\d"])
def test_images_whose_names_agree_stay_together(tmp_path, pattern):
    samples = drawn_samples(tmp_path, NAMES)
    assert partition(samples, find_groups(samples, pattern)) == [["s1_a", "s1_b"], ["s2_a", "s2_b"], ["s3_a"]]
    with pytest.raises(DatasetError, match="does not match"):
        find_groups(samples, "slide")


def test_images_of_one_row_value_stay_together_and_so_do_their_duplicates(tmp_path):
    samples = drawn_samples(tmp_path, NAMES)
    write_png(tmp_path / "images" / "s3_a.png", textured(0))
    table = tmp_path / "slides.csv"
    table.write_text("name,donor\ns1_a.png,x\ns1_b,y\ns2_a,x\ns2_b,z\ns3_a.png,w\n", encoding="utf-8-sig")
    found = partition(samples, find_groups(samples, f"{table}:donor"))
    assert found == [["s1_a", "s2_a", "s3_a"], ["s1_b"], ["s2_b"]]
    for column, what in (("slide", "no column slide"), ("name", "are not")):
        if column == "name":
            table.write_text("name,donor\ns1_a,x\n")
        with pytest.raises(DatasetError, match=what):
            find_groups(samples, f"{table}:{column}")
    with pytest.raises(DatasetError, match="no such table"):
        find_groups(samples, f"{tmp_path / 'nowhere.csv'}:donor")


def test_a_table_s_names_may_have_dots_and_its_rows_may_be_empty(tmp_path):
    samples = drawn_samples(tmp_path, ("a.1", "a.2", "b.png", "c"))
    table = tmp_path / "slides.csv"
    table.write_text("name,donor\na.1,x\n,,\n\na.2.png,y\nb.png,x\nc.ome.tif,y\n")
    assert partition(samples, find_groups(samples, f"{table}:donor")) == [["a.1", "b.png"], ["a.2", "c"]]
    for row in ("c", "c,", "c, "):
        table.write_text(f"name,donor\na.1,x\na.2,y\nb.png,x\n{row}\n")
        with pytest.raises(
            DatasetError, match="1 images are not in the first column or have no donor, such as c"
        ):
            find_groups(samples, f"{table}:donor")


@given(
    presence=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=4, max_size=40),
    folds=st.integers(2, 5),
    group_of=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_folds_are_whole_alike_repeatable_and_keep_groups(presence, folds, group_of, seed):
    samples = [Sample(f"{k:03}", Path("i"), Path("m")) for k in range(len(presence))]
    counts = np.array([(1, *row) for row in presence])
    groups = [k // group_of for k in range(len(samples))]
    if len(set(groups)) < folds:
        with pytest.raises(DatasetError, match="cannot make"):
            fold_of_each(samples, counts, folds, seed=seed, groups=groups)
        return
    found = fold_of_each(samples, counts, folds, seed=seed, groups=groups)
    assert found == fold_of_each(samples, counts, folds, seed=seed, groups=groups)
    sizes = np.bincount(found, minlength=folds)
    assert sizes.min() > 0
    assert sizes.max() - sizes.min() <= group_of
    assert len({(group, fold) for group, fold in zip(groups, found, strict=True)}) == len(set(groups))
    if group_of == 1:
        for column in (1, 2):
            shown = np.bincount(found, counts[:, column], minlength=folds)
            assert shown.max() - shown.min() <= 3


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
    path.write_bytes("Blutkörperchen".encode("latin-1"))
    with pytest.raises(DatasetError, match="no UTF-8"):
        read_class_names(tmp_path)
