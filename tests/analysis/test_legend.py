"""What is written beside a picture is there, and leaves the picture alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import findfont

from unetpp.analysis import legend as room
from unetpp.analysis.extras import middles
from unetpp.analysis.legend import draw_numbers, panel, scale_bar, with_legend
from unetpp.analysis.objects import measure
from unetpp.analysis.overlay import PALETTE
from unetpp.errors import SettingError


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_panel_shows_every_image_from_left_to_right():
    images = [np.full((40, 50, 3), value, np.uint8) for value in (60, 120, 180)]
    sheet = panel([("image", images[0]), ("truth", images[1]), ("prediction", images[2])])
    middle = sheet[sheet.shape[0] - 25, :, 0]
    assert [int((middle == value).sum()) for value in (60, 120, 180)] == [50, 50, 50]
    assert (np.diff([np.flatnonzero(middle == value)[0] for value in (60, 120, 180)]) > 50).all()
    assert (sheet.dtype, sheet.shape[2]) == (np.uint8, 3)


def test_panel_has_titles():
    columns = [("", np.zeros((40, 80, 3), np.uint8))]
    assert (panel(columns) == 255).sum() == 0
    assert (panel([("truth", columns[0][1])]) > 200).sum() > 30


def test_panel_takes_images_of_different_sizes():
    small, large = noise((10, 20)), noise((90, 70))
    sheet = panel([("a", small), ("a long title above a small image", small), ("b", large)])
    assert sheet.shape[0] >= 90


@pytest.mark.parametrize("count", [2, 3, 40])
def test_legend_has_every_class_but_the_background(count):
    columns = [("image", np.zeros((40, 200, 3), np.uint8))]
    sheet = panel(columns, classes=[f"class {index}" for index in range(count)])
    for colour in PALETTE[1 : min(count, len(PALETTE))]:
        assert (sheet == colour).all(axis=2).sum() >= 100
    assert sheet.shape[0] > panel(columns).shape[0]


def test_long_class_names_widen_the_panel():
    columns = [("", np.zeros((8, 8, 3), np.uint8))]
    assert panel(columns, classes=("", "spirochaete " * 5)).shape[1] > 250


@pytest.mark.parametrize("columns", [[], [("a", np.zeros((4, 4), np.uint8))], [("a", np.zeros((4, 4, 3)))]])
def test_panel_refuses_what_it_cannot_show(columns):
    with pytest.raises(SettingError):
        panel(columns)


@pytest.mark.parametrize("width", [10, 300, 1500])
def test_a_legend_lies_below_the_image_which_stays_as_it_is(width):
    image = noise((20, width))
    drawn = with_legend(image, ("background", "blood_cell", "bacteria"), pixel_size=0.1)
    np.testing.assert_array_equal(drawn[:20, :width], image)
    below = drawn[20:]
    for colour in PALETTE[1:3]:
        assert (below == colour).all(axis=2).sum() >= 100
    np.testing.assert_array_equal(with_legend(image, ("background",)), image)


@given(width=st.integers(20, 5000), pixel_size=st.floats(1e-3, 1e3))
def test_a_scale_bar_is_as_long_as_it_says_and_a_tenth_to_a_quarter_of_the_picture(width, pixel_size):
    bar = scale_bar(width, pixel_size)
    micrometres = float(bar.text.removesuffix(" um"))
    assert bar.wide == pytest.approx(micrometres / pixel_size, abs=0.51)
    assert width / 10 - 1 <= bar.wide <= width / 4 + 1
    assert f"{micrometres:.0e}"[0] in "125"


def test_the_scale_bar_is_drawn():
    plain, measured = (with_legend(noise((50, 400)), ("", "cell"), pixel_size=size) for size in (None, 0.5))
    white = (measured[50:] == 255).all(axis=2)
    assert white.sum(axis=1).max() == pytest.approx(100, abs=20)
    assert (plain[50:] == 255).all(axis=2).sum() < white.sum()


def test_numbers_stand_at_their_objects():
    image = np.full((100, 200, 3), 90, np.uint8)
    drawn = draw_numbers(image, np.array([7, 12]), np.array([20.0, 70]), np.array([30.0, 150]))
    changed = (drawn != image).any(axis=2)
    for y, x in ((20, 30), (70, 150)):
        assert changed[y - 8 : y + 9, x - 12 : x + 13].sum() > 15
        changed[y - 8 : y + 9, x - 12 : x + 13] = False
    assert not changed.any()


def test_the_number_of_a_bent_object_is_written_on_it():
    y, x = np.indices((61, 61)) - 30
    numbers = np.select([(np.abs(np.hypot(y, x) - 25) <= 2) & (y < 5), np.hypot(y, x) < 8], [1, 2])
    table = measure(numbers, np.array([0, 1, 1]), ("background", "cell"))
    row, column = middles(numbers, table)
    assert numbers[row, column].tolist() == [1, 2]
    assert (row[1], column[1]) == (30, 30)
    # The nearest pixel of the arc is that of its inner rim.
    assert np.hypot(row[0] - 30, column[0] - 30) == pytest.approx(23, abs=0.8)


NAMES = ("Zelle", "Erythrozyt, groß", "κύτταρο", "клетка", "血细胞", "細胞 A", "세포", "\U0010fffe")


def boxes(name, monkeypatch):
    """A legend whose letters are drawn whether or not Pillow's font has them."""
    with monkeypatch.context() as patch:
        patch.setattr(room, "face_of", lambda text: "")
        return with_legend(noise((20, 400)), ("", name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fonts", [(), room.FONTS])
def test_no_legend_shows_boxes_for_letters(name, fonts, monkeypatch):
    monkeypatch.setattr(room, "FONTS", fonts)
    room.face_of.cache_clear()
    drawn = with_legend(noise((20, 400)), ("", name))
    room.face_of.cache_clear()
    assert np.array_equal(drawn, boxes(name, monkeypatch)) == (name == "Zelle")
    number = with_legend(noise((20, 400)), ("", "1"))
    if not fonts:
        assert np.array_equal(drawn, number) == (name != "Zelle")
    # No font has this one.
    assert name.isprintable() or np.array_equal(drawn, number)


def test_letters_of_another_script_are_told_apart(monkeypatch):
    # Matplotlib brings a font that has them.
    monkeypatch.setattr(room, "FONTS", (findfont("DejaVu Sans"),))
    room.face_of.cache_clear()
    one, other = (with_legend(noise((20, 400)), ("", name)) for name in ("αβγ", "δεζ"))
    room.face_of.cache_clear()
    assert not np.array_equal(one, other)
