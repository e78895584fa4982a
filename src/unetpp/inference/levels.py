"""What each level of a deeply supervised network scores and costs."""

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil

from unetpp.bundle import read_bundle
from unetpp.data.dataset import Sample
from unetpp.errors import ClusterError
from unetpp.inference.evaluate import evaluate
from unetpp.inference.predict import open_predictor


def measure_levels(path: Path, samples: Sequence[Sample], **options: Any) -> Iterator[tuple[int, dict]]:
    """Score a model at each of its levels, each in a process of its own.

    Args:
        path: a bundle's folder, or the run folder that holds one.
        samples: images with masks.
        options: of `open_predictor`.

    Yields:
        the level, as `UNetPP.pruned` counts, and the scores of `evaluate` with "memory", the most bytes of resident
        memory that the process took; None where the system does not tell.

    Raises:
        ClusterError: if the process was killed.
    """
    spawn = multiprocessing.get_context("spawn")
    for level in read_bundle(path).levels:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            try:
                found = pool.submit(_measure, path, samples, {**options, "level": level}).result()
            except BrokenProcessPool as error:
                what = f"what measured level {level} was killed"
                raise ClusterError(what, where=path, mend="see that memory is free") from error
        yield level, found


def _measure(path: Path, samples: Sequence[Sample], options: dict) -> dict:
    bundle, predictor = open_predictor(path, **options)
    found = evaluate(predictor, samples, bundle.classes)
    return {**found, "memory": peak_memory()}


def peak_memory() -> int | None:
    """The most bytes of resident memory that this process has taken; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike getrusage, not the parent's where that had more.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return getattr(psutil.Process().memory_info(), "peak_wset", None)
