"""What belongs together stays on one side, and both sides show the classes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs import put
from PIL import Image

from unetpp.data.dataset import Sample, find_samples
from unetpp.data.duplicates import duplicate_groups
from unetpp.data.groups import find_groups, fold_of_each, group_keys, named_in, split
from unetpp.data.images import write_png
from unetpp.errors import DatasetError, SettingError


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
    table.write_text(f"name,donor\ns1_a,{'x' * 200_000}\n")
    with pytest.raises(DatasetError, match="cannot be read"):
        find_groups(samples, f"{table}:donor")
    with pytest.raises(DatasetError, match="no such table"):
        find_groups(samples, f"{tmp_path / 'nowhere.csv'}:donor")


def test_names_in_tables_lists_and_expressions_are_of_images_however_their_accents_are_written(tmp_path):
    (tmp_path / "images").mkdir()
    one, other = "Zoë", "Zoe\u0308"
    samples = drawn_samples(tmp_path, (f"{other} 1", f"{one} 2", "Anna 1"))
    table = tmp_path / "donors.csv"
    table.write_text(f"name,le{other}\n{one} 1,x\n{other} 2.png,x\nAnna 1,y\n", encoding="utf-8")
    apart = [["Anna 1"], [f"{one} 1", f"{one} 2"]]
    for pattern in (f"{table}:le{one}", f"{other}|Anna"):
        assert partition(samples, find_groups(samples, pattern)) == apart
    table.write_text(f"{one} 1.png\n{other} 2\n", encoding="utf-8")
    assert named_in(table, samples) == [sample.stem != "Anna 1" for sample in samples]


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


def test_what_is_no_regular_expression_is_refused():
    samples = [Sample("a", Path("a.png"), Path("a.png"))]
    with pytest.raises(SettingError, match=r"\( is no regular expression"):
        group_keys(samples, "(")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_s_columns_part_at_commas_or_as_other_languages_part_them(mark, tmp_path):
    put(tmp_path / "images", "a.png", "b.png")
    put(tmp_path / "masks", "a.png", "b.png")
    table = tmp_path / "slides.csv"
    text = 'image|größe|slide\na|1|"x\ny"\nb|2|y\n'.replace("|", mark)
    table.write_text(text, encoding="utf-8-sig")
    samples = find_samples(tmp_path)
    assert group_keys(samples, f"{table}:slide") == ["x\ny", "y"]
    with pytest.raises(DatasetError, match=r"no column donor; give .* one of: image, größe, slide"):
        group_keys(samples, f"{table}:donor")


def test_a_table_that_is_no_utf_8_is_to_be_saved_as_such(tmp_path):
    table = tmp_path / "slides.csv"
    table.write_bytes("image;größe\na;1\n".encode("cp1252"))
    with pytest.raises(DatasetError, match="this is no UTF-8; save it as CSV UTF-8"):
        group_keys([], f"{table}:größe")


@pytest.mark.parametrize(
    "text",
    [
        "image;Größe, µm;slide\na;1,5;x\nb;2,5;y\n",
        "sep=;\r\nimage;slide\r\na;x\r\nb;y\r\n",
        "image, slide\na, x\nb , y\n",
        'image,"slide, left; right",slide\na,1,x\nb,2,y\n',
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(text, tmp_path):
    put(tmp_path / "images", "a.png", "b.png")
    put(tmp_path / "masks", "a.png", "b.png")
    table = tmp_path / "SLIDES.CSV"
    table.write_text(text, encoding="utf-8", newline="")
    assert group_keys(find_samples(tmp_path), f"{table}:slide") == ["x", "y"]


def test_an_image_that_is_in_a_table_twice_is_of_one_group(tmp_path):
    put(tmp_path / "images", "a.png", "b.png")
    put(tmp_path / "masks", "a.png", "b.png")
    table = tmp_path / "slides.csv"
    table.write_text("image,slide\na,x\na.png,x\nb,y\n")
    assert group_keys(find_samples(tmp_path), f"{table}:slide") == ["x", "y"]
    table.write_text("image,slide\na,x\na.png,z\nb,y\n")
    with pytest.raises(DatasetError, match="a is there twice, with x and z as its slide"):
        group_keys(find_samples(tmp_path), f"{table}:slide")
