"""Pieces of work spread over the workers of a Dask cluster, on one machine or many.

Every worker opens the model once. A piece whose worker dies is done by another; its outputs are written whole or
not at all, so none is there twice or by half. All machines must see the same files.
"""

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from unetpp.errors import ClusterError, InstallError, UnetppError
from unetpp.inference.folder import Execute, Piece
from unetpp.inference.predict import Ensemble, Predictor, open_predictors

ANSWER_SECONDS = 10
OPENING = Lock()


@dataclass(frozen=True)
class Model:
    """What a worker needs to open the model.

    Attributes:
        paths: of one bundle, or several whose probabilities are averaged.
        options: of `open_predictor`, as (name, value) pairs.
        identity: of its files, so that another in their place is not taken for it.
    """

    paths: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    identity: str = ""


@contextmanager
def connect(address: str | None = None, workers: int = 1) -> Iterator[Any]:
    """A Dask client: of the scheduler at an address, or of so many worker processes on this machine.

    Raises:
        InstallError: if Dask is not installed.
        ClusterError: if nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InstallError(
            "Dask is not installed", mend='in the clone, run: pip install ".[cluster]"'
        ) from error
    # What happens to workers is said by the errors here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address is None:
        options: dict[str, Any] = {"threads_per_worker": 1, "silence_logs": logging.CRITICAL}
        # At a free port, for another command may have workers, too.
        options["dashboard_address"] = "127.0.0.1:0"
        with (
            LocalCluster(n_workers=workers, **options) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        mend = "start it with: dask scheduler, and give the address that it prints"
        raise ClusterError("no Dask scheduler answers", where=address, mend=mend) from error
    with client:
        yield client


def threads_each(workers: int) -> int:
    """How many threads each of some workers on this machine shall use."""
    return max(1, (os.cpu_count() or 1) // workers)


def spread(client, model: Model) -> Execute:
    """Do pieces of work on a cluster's workers."""

    def execute(pieces: Sequence[Piece]):
        from distributed import CancelledError, KilledWorker, as_completed

        futures = {client.submit(_run, piece, model, pure=False): piece for piece in pieces}
        try:
            for future in as_completed(list(futures)):
                error = future.exception()
                if isinstance(error, KilledWorker):
                    what = f"{error.allowed_failures + 1} workers died over the same piece of work"
                    error = ClusterError(what, mend="give the workers more memory, then give --resume")
                yield futures.pop(future), error or future.result()
        except CancelledError as error:
            # There is nobody to take the rest back.
            futures.clear()
            mend = "start it again, then give --resume and its address"
            raise ClusterError("the Dask scheduler is gone", mend=mend) from error
        finally:
            if futures:
                client.cancel(list(futures))

    return execute


def _run(piece: Piece, model: Model) -> UnetppError | None:
    """On a worker: do a piece; an image that cannot be used is a result, not a failure of the worker."""
    # Threads of a worker open the model once.
    with OPENING:
        predictor = _open(model)
    try:
        piece(predictor)
    except UnetppError as error:
        return error
    return None


@functools.lru_cache(maxsize=1)
def _open(model: Model) -> Predictor | Ensemble:
    return open_predictors([Path(path) for path in model.paths], **dict(model.options))[1]
