"""Crops, batch, rate, length and precision of a run's steps, by what the images and the machine are."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from unetpp.data.resample import Scaling
from unetpp.errors import DatasetError
from unetpp.training.options import THREADS, Options

PATCH, BATCH, EPOCHS = 256, 8, 60
LEARNING_RATE = 1e-3
# Of what a step holds, a plane of activations takes so many bytes a pixel.
BYTES = 10
# NVIDIA's first architecture with arithmetic in bfloat16.
AMPERE = 8


def decide_steps(
    options: Options, sizes: Sequence[tuple[int, int]], scaling: Scaling, channels: int, why: dict[str, str]
) -> Options:
    """Crops, batch, rate and length.

    Raises:
        DatasetError: if the memory does not hold the images.
    """
    multiple = options.multiple
    worked = [scaling.size(size) for size in sizes]
    shorter = int(np.median([min(size) for size in worked]))
    fitting = max(multiple, min(PATCH, shorter // multiple * multiple))
    patch = options.patch or fitting
    why.setdefault("crops", "the usual" if patch == PATCH else "as large as the images")
    # Images are held as float32, masks as uint8.
    pictures = sum(height * width for height, width in worked) * (4 * channels + 1)
    free = psutil.virtual_memory().available
    if pictures > free:
        raise DatasetError(
            f"at working size the images take {pictures / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            mend="give a smaller --long-side, or fewer images",
        )
    room = (free - pictures) / 2
    most = max(1, int(room // step_memory(replace(options, patch=patch, batch=1, devices=1))))
    devices = options.devices
    batch = options.batch or max(1, min(BATCH, most) // devices) * devices
    reason = "the usual" if most >= BATCH else "all that the memory holds"
    reason += ", as many on each device" if devices > 1 else ""
    why.setdefault("batch", "one a device" if batch == devices > 1 else reason)
    why.setdefault("length", "the usual; give --budget or --epochs for another")
    why.setdefault("learning rate", "the usual; unetpp lr-find measures another")
    precision = fastest_precision() if options.precision == "auto" else options.precision
    why.setdefault(
        "precision",
        f"what it trains on has {'' if precision == 'mixed_bfloat16' else 'no '}arithmetic in bfloat16",
    )
    why.setdefault("workers", "half of the processor's cores, so that the network need not wait for crops")
    return replace(
        options,
        patch=patch,
        batch=batch,
        epochs=0 if options.budget else options.epochs or EPOCHS,
        learning_rate=options.learning_rate or LEARNING_RATE,
        precision=precision,
        workers=options.workers or THREADS,
    )


def fastest_precision() -> str:
    """The dtype policy that is fastest here: bfloat16 where the GPU or the processor computes in it, else float32."""
    return "mixed_bfloat16" if computes_bfloat16() else "float32"


def computes_bfloat16() -> bool:
    """Whether what it trains on has arithmetic in bfloat16: NVIDIA's GPUs from Ampere on, and some processors."""
    # Without NVIDIA's driver no backend, seconds of importing, need be asked.
    if shutil.which("nvidia-smi"):
        from unetpp.training.devices import architecture

        found = architecture()
        if found is not None:
            return found >= AMPERE
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def step_memory(options: Options) -> float:
    """About how many bytes the activations of a step take."""
    filters, depth = options.filters, len(options.filters)
    planes = 0.0
    for i, j in np.argwhere(np.add.outer(range(depth), range(depth)) < depth):
        inner = filters[i] if options.inner_filters == "level" else filters[0]
        width = filters[i] if j in (0, depth - 1 - i) else inner
        planes += (6 * width + j * inner) / 4.0**i
    return BYTES * options.batch * options.patch**2 * planes
