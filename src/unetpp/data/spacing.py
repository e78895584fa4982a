"""How far apart an image's pixels, planes and time points lie, as OME-TIFF, ImageJ and OME-Zarr say it."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from xml.etree import ElementTree

# By the letter of an axis: the way from one index to the next, and its unit by its name in OME-Zarr, or "".
Spacing = dict[str, tuple[float, str]]
# Names of units in OME-Zarr, and how OME-XML writes them.
SIGNS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "inch": "in",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
# ImageJ takes what a user has typed; it escapes the µ.
NAMES = {
    **{sign: name for name, sign in SIGNS.items()},
    **{name: name for name in SIGNS},
    **dict.fromkeys(("um", "micron", "microns", r"\u00B5m"), "micrometer"),
    **dict.fromkeys(("sec", "seconds"), "second"),
}
# Micrometres. An inch is mostly a printer's, which ImageJ takes over from other files.
MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}
# Of a pixel's side, in micrometres: from smaller than atoms to a metre.
SMALLEST, LARGEST = 1e-6, 1e6
# Attributes of OME-XML, and their units where it gives none.
ATTRIBUTES = {
    "X": ("PhysicalSizeX", "µm"),
    "Y": ("PhysicalSizeY", "µm"),
    "Z": ("PhysicalSizeZ", "µm"),
    "T": ("TimeIncrement", "s"),
}


def square(side: float | None) -> Spacing:
    """That of square pixels, whose side is so many micrometres; {} for None."""
    return dict.fromkeys("YX", (side, "micrometer")) if side else {}


def side_of(spacing: Spacing) -> float | None:
    """Micrometres of a pixel's side, where they are known and pixels are square, but for a hundredth.

    >>> side_of({"Y": (250.0, "nanometer"), "X": (0.25, "micrometer")})
    0.25
    """
    sides = [spacing.get(axis, (0.0, "")) for axis in "YX"]
    height, width = (value * MICROMETRES.get(unit, 0.0) for value, unit in sides)
    known = SMALLEST <= width <= LARGEST and abs(height - width) <= 0.01 * width
    return width if known else None


def spacing_of_tiff(file, series) -> Spacing:
    """What OME-XML or ImageJ says of a series of tifffile's; a resolution alone is mostly that of a printer."""
    if series.kind == "ome":
        return _of_ome(file.ome_metadata, file.series.index(series))
    if file.is_imagej:
        return _of_imagej(file.imagej_metadata or {}, series.keyframe.tags)
    return {}


def _of_ome(xml: str, index: int) -> Spacing:
    found = ElementTree.fromstring(xml).findall("{*}Image/{*}Pixels")
    said = found[index].attrib if index < len(found) else {}
    return _known(
        {axis: (said.get(key), said.get(f"{key}Unit", unit)) for axis, (key, unit) in ATTRIBUTES.items()}
    )


def _of_imagej(said: Mapping[str, Any], tags) -> Spacing:
    unit = said.get("unit")
    found = {"Z": (said.get("spacing"), unit), "T": (said.get("finterval"), said.get("tunit", "sec"))}
    for axis in "XY":
        # A fraction: pixels a unit.
        pixels, units = tags.valueof(f"{axis}Resolution") or (0, 0)
        found[axis] = (units / pixels if pixels else None, unit)
    return _known(found)


def _known(found: Mapping[str, tuple[Any, Any]]) -> Spacing:
    """Of what is said, what has a number and a unit that can be."""
    spacing = {}
    for axis, (value, unit) in found.items():
        name = NAMES.get(str(unit).replace("\N{GREEK SMALL LETTER MU}", "µ"))
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if name and number > 0 and isfinite(number):
            spacing[axis] = (number, name)
    return spacing


def spacing_of_zarr(image: Mapping[str, Any], letters: str) -> Spacing:
    """What an OME-Zarr says of its largest level.

    Args:
        image: its `multiscales` entry.
        letters: of its axes.
    """
    steps = [1.0] * len(letters)
    for place in (image["datasets"][0], image):
        for said in place.get("coordinateTransformations") or []:
            for k, factor in enumerate((said.get("scale") or [])[: len(steps)]):
                steps[k] *= factor
    axes: Sequence = image.get("axes", [{}] * len(letters))
    units = [axis.get("unit") or "" if isinstance(axis, dict) else "" for axis in axes]
    return {
        letter: (step, unit) for letter, step, unit in zip(letters, steps, units, strict=True) if step > 0
    }


def to_ome(spacing: Spacing) -> dict[str, Any]:
    """Attributes of OME-XML, of what has a unit that it knows.

    >>> to_ome({"X": (0.5, "nanometer"), "Z": (2.0, "")})
    {'PhysicalSizeX': 0.5, 'PhysicalSizeXUnit': 'nm'}
    """
    found: dict[str, Any] = {}
    for axis, (key, _) in ATTRIBUTES.items():
        value, unit = spacing.get(axis, (1.0, ""))
        if unit in SIGNS:
            found |= {key: value, f"{key}Unit": SIGNS[unit]}
    return found
