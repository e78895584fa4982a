"""The report holds what was scored, needs nothing but itself, and works in a browser."""

import dataclasses
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from unetpp.analysis.calibration import BINS
from unetpp.analysis.charts import calibration_curves, lines, size_distribution
from unetpp.analysis.pictures import MISTAKES, draw_pictures, mistakes
from unetpp.analysis.records import examine
from unetpp.analysis.report import AT, MOST, Report, chosen, sentences, statistics, to_html, write_report
from unetpp.analysis.summary import summarize
from unetpp.data.synthetic import draw

CLASSES = ("background", "cell <b>", "rod")
HISTORY = [
    {"epoch": str(k), "loss": "1", "mean_iou": str(0.5 + k / 20), "iou_background": "0.9", "iou_rod": ""}
    for k in range(1, 6)
]


def drawn(seed, shape=(90, 120)):
    """An image, its labels, and probabilities that are near them."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 5) * 12 for _ in range(3)], -1)
    fields[..., 0] += 0.3
    logits = 3 * (fields + 0.4 * np.roll(fields, 3, 0))
    truth = fields.argmax(-1).astype(np.uint8)
    image = (60 * truth[..., None] + rng.integers(0, 60, (*shape, 3))).astype(np.uint8)
    return image, truth, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def made(count=7, history=HISTORY):
    records, pictures = [], []
    for seed in range(count):
        image, truth, chances = drawn(seed)
        records.append(examine(f"image {seed}", truth, chances))
        pictures.append(draw_pictures(f"image {seed}", image, truth, chances.argmax(-1).astype(np.uint8)))
    options = "--split blood_cell --thin bacteria --smallest 20 --instances DATA/instances " * 6
    digest = "c5a1f08b2d" * 6 + "41e7"
    facts = [("command", f"unetpp report <RUN> {options}"), ("SHA-256 of all images and masks", digest)]
    return Report("cells & rods", CLASSES, tuple(records), tuple(pictures), history, facts)


def luminance(colour):
    """Of red, green and blue from 0 to 255, after WCAG 2."""
    parts = np.asarray(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def spy(method, seen):
    """A method that also lists whose it was."""

    def called(self, *args, **options):
        seen.append(self)
        return method(self, *args, **options)

    return called


@pytest.mark.parametrize("letters", [5, 11, 14, 30])
def test_a_legend_of_many_classes_hides_no_curve_and_tells_all_apart(letters, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", spy(Figure.savefig, drawn))
    pixels = np.full(BINS, 1000.0)
    chance = pixels * (np.arange(BINS) + 0.5) / BINS
    names = [f"{k:02d}{'n' * (letters - 2)}" for k in range(32)]
    calibration_curves(np.stack([pixels, chance, chance], -1)[None].repeat(33, 0), names)
    [figure] = drawn
    figure.draw_without_rendering()
    [axes], [legend] = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["most probable class", *names]
    place = legend.get_window_extent()
    assert not place.overlaps(axes.get_tightbbox())
    left, bottom, right, top = place.extents
    assert 0 <= left < right <= figure.bbox.width
    assert 0 <= bottom < top <= figure.bbox.height
    assert len({(look["color"], look["ls"]) for look in lines(32)}) == 32


@pytest.mark.parametrize("smallest", [1, 5, 11, 12, 15, 20, 25, 27])
def test_a_chart_of_sizes_leaves_no_object_out(smallest, monkeypatch):
    heights = []
    hist = Axes.hist

    def counted(self, values, edges, **style):
        found = hist(self, values, edges, **style)
        heights.append(found[0].sum())
        return found

    monkeypatch.setattr(Axes, "hist", counted)
    size_distribution("cell", np.array([smallest, smallest, 90]), np.array([smallest, 90, 91, 91]))
    assert heights == [4, 3]


@pytest.fixture(scope="module")
def report():
    return made()


@pytest.fixture(scope="module")
def page(report):
    return to_html(report)


class Tree(html.parser.HTMLParser):
    """Every element that is open at the end, every address, every id."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "path", "use"})

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "action") and v is not None
        ]
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network(page):
    tree = Tree()
    tree.feed(page)
    assert tree.open == []
    assert all(address.startswith(("data:", "#")) for address in tree.addresses)
    assert {address[1:] for address in tree.addresses if address.startswith("#")} <= set(tree.ids)
    assert len(tree.ids) == len(set(tree.ids))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_page_tells_the_scores(report, page):
    result = summarize(report.records, CLASSES)
    assert f"Mean IoU {result['mean_iou']:.3f}" in page
    for row in result["per_image"]:
        assert f'data-value="{row["mean_iou"]}"' in page
    low, high = result["intervals"]["iou"]["rod"]
    assert f"{low:.3f}–{high:.3f}" in page
    assert f"{max(picture.size[1] for picture in report.pictures)} x" in page
    for name, value in report.facts:
        assert name in page
        assert value.replace("<", "&lt;").replace(">", "&gt;") in page
    assert page.count("<svg") == 2 + 2 * 2


def test_names_are_taken_literally(page):
    assert "cell &lt;b&gt;" in page
    assert "<b>" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_names_are_no_formulas_and_do_not_leave_the_legend():
    counts = np.ones((3, BINS, 3))
    chart = calibration_curves(counts, (r"$\foo$", "_cell"))
    assert r"$\foo$" in chart
    assert "_cell" in chart


def test_the_sentence_counts_objects():
    counts = {"rod": (230, 221), "cell": (0, 1), "platelet": (0, 0)}
    recalls = {"rod": 212 / 230, "cell": None, "platelet": None}
    found = {
        "objects": {name: {"true": true, "predicted": got} for name, (true, got) in counts.items()},
        "figures": {"object_recall": {name: {AT: recall} for name, recall in recalls.items()}},
    }
    assert sentences(found) == [
        "212 of 230 rod; 9 false alarms",
        "0 of 0 cell; 1 false alarm",
        "no platelet, and there is none",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_no_image_is_shown_twice_and_the_worst_and_best_are(count):
    found = chosen(list(range(count)))
    shown = [k for images in found.values() for k in images]
    assert len(shown) == len(set(shown))
    assert found["Worst"][0] == 0
    assert count - 1 in shown


def test_the_size_of_images_alike_is_one_number_a_side(report):
    size = dict(statistics(report, summarize(report.records, CLASSES)))["size"]
    assert size == "120 x 90 pixels"
    large = dataclasses.replace(report.pictures[0], size=(100, 120))
    mixed = dataclasses.replace(report, pictures=(large, *report.pictures[1:]))
    assert dict(statistics(mixed, summarize(report.records, CLASSES)))["size"] == "120 x 90–100 pixels"


@pytest.mark.parametrize("history", [[], HISTORY[:1]])
def test_one_image_and_no_history_make_a_page(history):
    page = to_html(made(1, history))
    assert ("Learning curves" in page) == bool(history)


def test_of_very_many_images_only_the_worst_can_be_looked_at(monkeypatch):
    from unetpp.analysis import report as room

    assert MOST >= 300
    monkeypatch.setattr(room, "MOST", 2)
    monkeypatch.setattr(room, "REVIEW", 1)
    made_of = made(6)
    page = to_html(made_of)
    layers = json.loads(re.search(r'id="layers">(.*?)</script>', page, re.DOTALL)[1])
    worst = sorted(range(6), key=lambda k: summarize(made_of.records, CLASSES)["per_image"][k]["mean_iou"])[
        :2
    ]
    assert {str(k) for k in worst} <= set(layers)
    assert len(layers) <= 3


def test_300_images_make_a_page_of_30_megabytes_at_most():
    image, truth = draw(0, (700, 1000))
    grain = np.random.default_rng(0).integers(0, 30, image.shape, np.uint8)
    one = made(1)
    pictures = draw_pictures("it", image // 2 + grain, truth, np.roll(truth, 5, 0))
    page = to_html(dataclasses.replace(one, records=one.records * 300, pictures=(pictures,) * 300))
    assert page.count('"disagreement": "data:') == 300
    assert len(page) < 30e6


def test_layers_are_pictures_of_the_image_s_size_that_are_clear_where_nothing_is():
    import io

    from PIL import Image

    image, truth, chances = drawn(1, (700, 1000))
    found = draw_pictures("it", image, truth, chances.argmax(-1).astype(np.uint8))
    size = Image.open(io.BytesIO(found.image)).size
    assert size == (500, 350)
    assert found.size == (700, 1000)
    for name, layer in found.layers.items():
        picture = np.array(Image.open(io.BytesIO(layer)).convert("RGBA"))
        assert picture.shape[1::-1] == size, name
        assert {0, 90, 255} == set(np.unique(picture[..., 3]).tolist())
    assert max(Image.open(io.BytesIO(found.thumbnail)).size) == 96


def test_a_mistake_is_a_false_alarm_a_miss_or_another_class():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 20, 20))
    for (y, x), kind in np.ndenumerate(mistakes(truth, prediction)):
        true, found = truth[y, x], prediction[y, x]
        name = (
            "" if true == found else "false alarm" if not true else "missed" if not found else "another class"
        )
        assert ("", *MISTAKES)[kind] == name


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium on this machine")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with playwright.sync_playwright() as player:
        opened = player.chromium.launch(executable_path=chromium, args=quiet)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_works_in_a_browser(report, browser, tmp_path, width, scheme):
    write_report(tmp_path / "report.html", report)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => !i.src || i.naturalWidth > 0)")
    heights = page.evaluate("[...document.querySelectorAll('.facts')].map(table => table.offsetHeight)")
    assert len(heights) == 2
    assert max(heights) < 900
    hidden = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{hidden}.every(e => e.tabIndex === 0 && e.ariaLabel)")

    heading = page.locator("#images th").nth(1)
    scores = "[...document.querySelectorAll('#images tbody tr')].map(r => +r.children[1].dataset.value)"
    for order in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        found = page.evaluate(scores)
        assert found == sorted(found, reverse=order == "descending")

    figure = page.locator("figure.viewer").first
    for layer in ("image", "truth", "prediction", "disagreement"):
        figure.get_by_label(layer, exact=True).check()
        visible = [
            other
            for other in ("truth", "prediction", "disagreement")
            if figure.locator(f".layer.{other}").is_visible()
        ]
        assert visible == [layer][: layer != "image"]

    first = page.locator("#images tbody tr button").first
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    title = dialog.locator("h3").inner_text()
    assert title == first.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    first.click()
    dialog.locator(".next").click()
    assert dialog.locator("h3").inner_text() == page.locator("#images tbody tr button").nth(1).inner_text()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()


@pytest.mark.parametrize("width", [390, 1366])
@pytest.mark.parametrize("shape", [(40, 40), (40, 80), (160, 80), (900, 900), (1800, 900)])
def test_a_picture_of_any_shape_is_as_large_as_the_window_has_room_for(shape, width, browser, tmp_path):
    image, truth = draw(0, shape)
    pictures = draw_pictures("it", image, truth, np.roll(truth, 5, 0))
    write_report(tmp_path / "report.html", dataclasses.replace(made(1), pictures=(pictures,)))
    page = browser.new_page(viewport={"width": width, "height": 768})
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("#images tbody button").click()
    dialog = page.locator("dialog")
    assert dialog.evaluate("e => e.scrollHeight <= e.clientHeight && e.scrollWidth <= e.clientWidth")
    for part in (".close", ".next"):
        place = dialog.locator(part).bounding_box()
        assert 0 <= place["y"] <= place["y"] + place["height"] <= 768
    photo, layer = (dialog.locator(part).bounding_box() for part in (".photo", ".layer.prediction"))
    assert layer == pytest.approx(photo)
    assert photo["width"] / photo["height"] == pytest.approx(shape[1] / shape[0], rel=0.02)
    assert photo["height"] > 0.7 * 768 or photo["width"] > 0.8 * min(width, 960)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_counts_can_be_read_in_every_cell(scheme, report, browser, tmp_path):
    write_report(tmp_path / "report.html", report)
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    cells = page.evaluate(
        "[...document.querySelectorAll('.cell small')].map(e => "
        "[getComputedStyle(e).color, getComputedStyle(e.parentNode).backgroundColor])"
    )
    assert len(cells) == len(CLASSES) ** 2
    for ink, fill in cells:
        *colour, opacity = [*map(float, re.findall(r"[\d.]+", fill)), 1.0][:4]
        under = np.array([int(part) for part in re.findall(r"\d+", paper)])
        behind = luminance(opacity * np.array(colour) + (1 - opacity) * under)
        low, high = sorted((behind, luminance([int(part) for part in re.findall(r"\d+", ink)])))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    page.close()


def test_a_dark_page_prints_with_its_keys_on_white_paper(report, browser, tmp_path):
    write_report(tmp_path / "report.html", report)
    page = browser.new_page(color_scheme="dark")
    page.goto((tmp_path / "report.html").as_uri())
    style = "name => getComputedStyle(document.body)[name]"
    assert page.evaluate(style, "backgroundColor") != "rgb(255, 255, 255)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(style, "backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(style, "colorScheme") == "light"
    # Browsers leave backgrounds out of what they print, and with them every colour key, unless told not to.
    keys = (
        "[...document.querySelectorAll('.key i, .cell')].map(e => getComputedStyle(e).webkitPrintColorAdjust)"
    )
    assert set(page.evaluate(keys)) == {"exact"}
    headings = "[...document.querySelectorAll('h2, main h3')].map(e => getComputedStyle(e).breakAfter)"
    assert set(page.evaluate(headings)) == {"avoid"}
    page.close()
