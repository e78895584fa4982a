"""Objects as outlines for other programs: QuPath's GeoJSON, ImageJ's ROI sets, COCO."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours, points_in_poly

from unetpp.analysis.overlay import colour_of
from unetpp.data.images import atomic_path
from unetpp.errors import InstallError

FORMATS = ("geojson", "roi", "coco")


@dataclass(frozen=True)
class Outline:
    """An object's outline.

    Attributes:
        number: of the object.
        index: of its class.
        area: in pixels.
        box: left, top, width, height.
        parts: of each of its parts the outer ring, then those of its holes: (n, 2) x and y, closed; 0 is the outer edge
            of the first pixel.
        plane: its index along each axis of planes, such as {"t": 0, "z": 3}; {} where an image has one plane.
    """

    number: int
    index: int
    area: int
    box: tuple[int, int, int, int]
    parts: tuple[tuple[np.ndarray, ...], ...]
    plane: Mapping[str, int]


def outlines(
    numbers: np.ndarray,
    classes: np.ndarray,
    *,
    top: int = 0,
    ids: np.ndarray | None = None,
    plane: Mapping[str, int] | None = None,
) -> Iterator[Outline]:
    """The outlines of all objects.

    Args:
        numbers: (H, W) ints, 0 where there is no object.
        classes: (n + 1,) the class of each number.
        top: the image's row that `numbers` begins with.
        ids: (n,) what each object's outline is numbered with, if not as it is here.
        plane: in which they are, as of `Outline`.
    """
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        mask = numbers[box] == number
        offset = (box[1].start + 0.5 - 1, box[0].start + 0.5 - 1 + top)
        # Halfway between pixels' middles, joined over corners as objects are; the padding closes what the box cuts.
        rings = [
            ring[:, ::-1] + offset
            for ring in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5, fully_connected="high")
        ]
        height, width = mask.shape
        place = (box[1].start, box[0].start + top, width, height)
        own = number if ids is None else int(ids[number - 1])
        yield Outline(own, int(classes[number]), int(mask.sum()), place, with_holes(rings), plane or {})


def with_holes(rings: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], ...]:
    """Rings as parts, each an outer ring and those of its holes, which run the other way around."""
    outer = [ring for ring in rings if twice_area(ring) > 0]
    holes: list[list[np.ndarray]] = [[] for _ in outer]
    for hole in (ring for ring in rings if twice_area(ring) < 0):
        inside = [k for k, ring in enumerate(outer) if points_in_poly(hole[:1], ring).all()]
        # Within several, the innermost has it.
        owner = min(inside, key=lambda k: abs(twice_area(outer[k])))
        holes[owner].append(hole)
    return tuple((ring, *own) for ring, own in zip(outer, holes, strict=True))


def twice_area(ring: np.ndarray) -> float:
    """Twice the area of a closed ring, (n, 2); above 0 if it runs clockwise to the eye, y counting down."""
    x, y = ring.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def in_one(part: Sequence[np.ndarray]) -> np.ndarray:
    """A part as one ring, that goes to each hole and back the same way, for programs that know no holes."""
    ring, *holes = (one[:-1] for one in part)
    tree, ways = cKDTree(ring), []
    for hole in holes:
        apart, nearest = tree.query(hole)
        there = int(apart.argmin())
        ways.append((int(nearest[there]), np.roll(hole, -there, axis=0)))
    pieces, done = [], 0
    for here, around in sorted(ways, key=itemgetter(0)):
        pieces += [ring[done : here + 1], around, around[:1]]
        done = here
    return np.concatenate([*pieces, ring[done:]])


def write_geojson(path: Path, found: Sequence[Outline], names: Sequence[str]) -> None:
    """Write outlines as QuPath reads them: File, Import objects."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        # One by one: lists of numbers take many times the memory of the arrays.
        for k, o in enumerate(found):
            file.write((",\n" if k else "") + json.dumps(feature(o, names)))
        file.write("]}")


def feature(o: Outline, names: Sequence[str]) -> dict[str, Any]:
    """An outline as GeoJSON has it."""
    # QuPath's own: a channel of -1 is all of them.
    plane = {"plane": {"c": -1, "z": 0, "t": 0, **o.plane}} if o.plane else {}
    return {
        "type": "Feature",
        "geometry": {
            "type": "MultiPolygon",
            "coordinates": [[ring.round(2).tolist() for ring in part] for part in o.parts],
            **plane,
        },
        "properties": {
            "objectType": "annotation",
            "name": str(o.number),
            "classification": {"name": names[o.index], "color": list(colour_of(o.index))},
        },
    }


def write_rois(path: Path, found: Sequence[Outline], names: Sequence[str], *, channels: bool = False) -> None:
    """Write outlines as an ImageJ ROI set, a ZIP file: File, Open, with the ROI manager.

    Args:
        path: the file.
        found: the outlines.
        names: of the classes, by index.
        channels: whether planes of the image have several, each a plane of its own to ImageJ.
    """
    try:
        import roifile
    except ImportError as error:
        raise InstallError(
            "roifile is not installed", mend='in the clone, run: pip install ".[objects]"'
        ) from error
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for o in found:
            for k, part in enumerate(o.parts):
                # A number may be in several planes.
                name = "-".join([names[o.index], str(o.number), *(f"{a}{n}" for a, n in o.plane.items())])
                name += f".{k}" if k else ""
                place = position(o.plane, channels)
                roi = roifile.ImagejRoi.frompoints(in_one(part), name=name, **place)
                roi.roitype = roifile.ROI_TYPE.POLYGON
                roi.stroke_color = bytes([255, *colour_of(o.index)])
                file.writestr(f"{name}.roi", roi.tobytes())


def position(plane: Mapping[str, int], channels: bool) -> Mapping[str, int]:
    """A plane as ImageJ finds it: by t and z where planes have two axes, or channels, else by its index.

    An outline that says the other of both is shown in all planes, or in none.

    Example:
        >>> position({"z": 3}, channels=False)
        {'position': 3}
    """
    return {"position": next(iter(plane.values()))} if len(plane) == 1 and not channels else plane


class Coco:
    """Outlines of many images, gathered for one COCO file; as text, which takes a fraction of the memory.

    Args:
        names: of the classes, by index.
    """

    def __init__(self, names: Sequence[str]):
        self.categories = [{"id": k, "name": name} for k, name in enumerate(names) if k]
        self.images: list[dict[str, Any]] = []
        self.annotations: list[str] = []

    def add(self, file: str, size: tuple[int, int], found: Sequence[Outline]) -> None:
        """Add an image by its file name, its size (height, width) and its objects."""
        image = len(self.images) + 1
        self.images.append({"id": image, "file_name": file, "height": size[0], "width": size[1]})
        for o in found:
            annotation = {
                "id": len(self.annotations) + 1,
                "image_id": image,
                "category_id": o.index,
                "bbox": list(o.box),
                "area": o.area,
                "segmentation": [in_one(part).round(2).ravel().tolist() for part in o.parts],
                "iscrowd": 0,
            }
            self.annotations.append(json.dumps(annotation))

    def write(self, path: Path) -> None:
        """Write the file."""
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(
                f'{{"images": {json.dumps(self.images)}, "categories": {json.dumps(self.categories)}, '
            )
            file.write('"annotations": [' + ",\n".join(self.annotations) + "]}")
