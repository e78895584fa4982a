"""One run on several devices, of one process or of several that form a job: data-parallel, by Keras on JAX.

Each device takes its share of every batch. Losses, gradients and the statistics of batch normalisation are those of
the whole batch, so a run is the same, within rounding, on however many devices.
"""

import re
from contextlib import contextmanager

import keras
import numpy as np

from unetpp.errors import SettingError, TrainingError

JOB = re.compile(r"(?P<address>.+:\d+),(?P<processes>\d+),(?P<process>\d+)")


def join(job: str) -> None:
    """Make this process one of a job's, before anything else is computed.

    Args:
        job: "auto" for what SLURM or Open MPI says of it, or "HOST:PORT,PROCESSES,PROCESS": where the first process
            can be reached, how many there are, and which this is, from 0.

    Raises:
        SettingError: for another text, or on another backend than JAX.
        TrainingError: if the processes do not find one another.
    """
    need_jax()
    parts = JOB.fullmatch(job)
    if not parts and job != "auto":
        raise SettingError(
            f"--job cannot be {job!r}",
            mend="give auto, or HOST:PORT,PROCESSES,PROCESS such as node1:9000,2,0",
        )
    try:
        if parts:
            numbers = {"num_processes": int(parts["processes"]), "process_id": int(parts["process"])}
            keras.distribution.initialize(parts["address"], **numbers)
        else:
            keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"the job's processes do not find one another: {error}",
            mend="see that all were started, and that the first one's port is open",
        ) from error


def need_jax() -> None:
    """Raise unless Keras runs on JAX."""
    if keras.backend.backend() != "jax":
        raise SettingError(
            "training on several devices needs JAX",
            mend='in the clone, run: pip install ".[train,jax]", and set KERAS_BACKEND=jax',
        )


def count() -> int:
    """All devices of all processes."""
    return len(keras.distribution.list_devices())


def find(devices: int) -> list[str]:
    """The names of so many devices.

    Raises:
        SettingError: if there are fewer, or another backend than JAX runs.
    """
    need_jax()
    found = keras.distribution.list_devices()
    if devices > len(found):
        raise SettingError(
            f"--devices {devices}: this machine has {len(found)}", mend="give no more than there are"
        )
    return found[:devices]


def architecture() -> int | None:
    """Which of NVIDIA's architectures the backend trains on, as the first number of its compute capability.

    Returns:
        Such as 8 for Ampere; None where it trains on a processor.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        return int(device.compute_capability.split(".")[0]) if device.platform == "gpu" else None
    if backend == "torch":
        import torch

        return torch.cuda.get_device_capability()[0] if torch.cuda.is_available() else None
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(found[0]) if found else {}
    return details.get("compute_capability", [None])[0]


def place() -> tuple[int, int]:
    """Which process of the job this is, from 0, and how many there are."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def agree(*values: float) -> list[float]:
    """The largest of each value that the job's processes bring; all must come here before any goes on."""
    if place()[1] == 1:
        return list(values)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.array(values, np.float32)).max(0).tolist()


@contextmanager
def spread(devices: int):
    """What is built and trained within lies on so many devices; see `find`."""
    if devices == 1:
        yield
        return
    parallel = keras.distribution.DataParallel(devices=find(devices), auto_shard_dataset=False)
    with parallel.scope():
        yield


@contextmanager
def alone():
    """What is built and run within lies on one device of this process, also amid `spread`."""
    former = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(former)
