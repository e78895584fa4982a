"""PNG that Pillow changes: of 16 bits and several samples a pixel it keeps 8, greys of 2 or 4 bits it scales."""

from pathlib import Path

import numpy as np


def bits_and_kind(path: Path) -> bytes:
    """Of a PNG how many bits a sample has, and the kind of its pixels: 0 grey, 3 palette; empty for other files."""
    with path.open("rb") as file:
        head = file.read(26)
    # After the signature, length and name of the first chunk, width and height.
    return head[24:] if head.startswith(b"\x89PNG") else b""


def is_deep(path: Path) -> bool:
    """Whether a file is a PNG of 16 bits and several samples a pixel."""
    return bits_and_kind(path) in (b"\x10\x02", b"\x10\x04", b"\x10\x06")


def grey_step(path: Path) -> int:
    """What Pillow multiplies the greys of a PNG of 2 or 4 bits by, so that the highest is 255; 1 for other files."""
    return {b"\x02\x00": 85, b"\x04\x00": 17}.get(bits_and_kind(path), 1)


def read_deep(path: Path, exif: bytes | None) -> np.ndarray:
    """The pixels, turned as its EXIF says, without opacity: (H, W, 1 or 3) uint16."""
    import imagecodecs
    from PIL import Image, ImageOps

    pixels = imagecodecs.png_decode(path.read_bytes())
    planes = []
    for index in range(pixels.shape[-1] - (pixels.shape[-1] in (2, 4))):
        plane = Image.fromarray(np.ascontiguousarray(pixels[..., index]))
        plane.info["exif"] = exif or b""
        planes.append(np.asarray(ImageOps.exif_transpose(plane)))
    return np.stack(planes, -1)
