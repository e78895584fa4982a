"""The models that ship: whole, small, found by name, and as good as they were when they were published.

With UNETPP_DATA, the folder of the data that models were made from, their scores are measured again.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from unetpp.bundle import INT8, read_bundle, verified
from unetpp.data.dataset import find_samples
from unetpp.data.images import write_png
from unetpp.data.synthetic import write_dataset
from unetpp.inference.evaluate import evaluate
from unetpp.inference.predict import open_predictor

FOLDER = Path(__file__).parents[1] / "models"
MODELS = sorted(path.parent.name for path in FOLDER.glob("*/bundle.json"))


def draw_micrographs(folder):
    write_dataset(folder, 6, size=(320, 320), seed=11)


def draw_nuclei(folder, count=6, side=256):
    """Bright, blurred ellipses with noise, some of which touch, and what they are."""
    rows, columns = np.mgrid[:side, :side]
    for k in range(count):
        rng = np.random.default_rng(k)
        mask, light = np.zeros((side, side), np.uint8), np.zeros((side, side))
        for _ in range(25):
            (y, x), (a, b) = rng.uniform(0, side, 2), rng.uniform(7, 13, 2)
            inside = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
            mask[inside], light[inside] = 1, rng.uniform(60, 180)
        image = ndimage.gaussian_filter(light, 1) + rng.normal(12, 3, mask.shape)
        write_png(
            folder / "images" / f"{k}.png", np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, 2)
        )
        write_png(folder / "masks" / f"{k}.png", mask)


# What draws six images, and IoU of each class, by 8-bit integers where the model has them.
DRAWN = {"darkfield": (draw_micrographs, (0.973, 0.835, 0.702)), "nuclei": (draw_nuclei, (0.997, 0.975))}


def scored_as(bundle):
    """The variant of its scores that is measured here, and its arithmetic."""
    return ("int8", "int8") if INT8 in bundle.sha256 else ("float16", "float32")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole_and_small_and_goes_by_its_name(name, monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    bundle = read_bundle(Path(name))
    for file in bundle.sha256:
        verified(FOLDER / name, bundle, file)
    files = {path.name: path.stat().st_size for path in (FOLDER / name).iterdir()}
    assert set(files) >= {"MODEL_CARD.md", "failures.png", "held_out.txt", "scores.json", *bundle.sha256}
    assert sum(files.values()) < 40e6


@pytest.mark.parametrize("name", MODELS)
def test_a_card_tells_the_scores(name):
    card = (FOLDER / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    scores = json.loads((FOLDER / name / "scores.json").read_text(encoding="utf-8"))
    for variant, found in scores.items():
        [row] = [line for line in card.splitlines() if line.startswith(f"| {variant} |")]
        figures = found["mean_iou"], found["mean_dice"], *(c["iou"] for c in found["classes"].values())
        assert all(f"{figure:.3f}" in row for figure in figures)
    variant, _ = scored_as(read_bundle(FOLDER / name))
    for kind, of in scores[variant].get("kinds", {}).items():
        [row] = [line for line in card.splitlines() if line.startswith(f"| {kind} |")]
        assert all(f"{figure:.2f}" in row for figure in of["object_ap"].values())


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_images_are_segmented_as_when_it_was_published(name, tmp_path):
    draw, expected = DRAWN[name]
    draw(tmp_path)
    _, precision = scored_as(read_bundle(FOLDER / name))
    bundle, predictor = open_predictor(FOLDER / name, precision=precision)
    found = evaluate(predictor, find_samples(tmp_path), bundle.classes)["classes"]
    # Processors round differently.
    assert [figures["iou"] for figures in found.values()] == pytest.approx(expected, abs=0.03)


@pytest.mark.skipif("UNETPP_DATA" not in os.environ, reason="the images are not part of the project")
@pytest.mark.parametrize("name", MODELS)
def test_real_images_are_segmented_as_the_card_says(name):
    names = (FOLDER / name / "held_out.txt").read_text(encoding="utf-8").splitlines()
    samples = [s for s in find_samples(Path(os.environ["UNETPP_DATA"]) / name) if s.stem in names]
    variant, precision = scored_as(read_bundle(FOLDER / name))
    bundle, predictor = open_predictor(FOLDER / name, precision=precision)
    found = evaluate(predictor, samples, bundle.classes)
    card = json.loads((FOLDER / name / "scores.json").read_text(encoding="utf-8"))
    assert len(samples) == len(names)
    assert found["mean_iou"] == pytest.approx(card[variant]["mean_iou"], abs=0.003)
