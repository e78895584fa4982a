"""What the commands do, with a terminal to show it on."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from unetpp.app.progress import counting, settings_table
from unetpp.errors import InstallError, SettingError, UnetppError

# Names of files and classes are shown as they are.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)
BACKENDS = ("tensorflow", "jax", "torch")


def run_prediction(
    models: list[Path],
    inputs,
    out: Path,
    *,
    extras=(),
    existing="refuse",
    engine=None,
    cluster=None,
    workers=None,
    objects=None,
    pixel_size=None,
) -> bool:
    """Predict, and say what failed; True if anything did."""
    from unetpp.analysis.rules import check_pixel_size
    from unetpp.data.names import full_path
    from unetpp.inference.folder import Folder, threads
    from unetpp.inference.jobs import check_extras, find_jobs, is_file

    check_pixel_size(pixel_size)
    if cluster and workers:
        raise SettingError("a cluster has its own workers", mend="leave out --workers, or --cluster")
    jobs = find_jobs(list(inputs), out)
    check_extras(jobs, out, extras)
    if pixel_size and is_file(out):
        raise SettingError(
            "one label image has no scale bar", mend="leave out --pixel-size, or give a folder"
        )
    # Two images at a time wait less for each other's reading and writing; a slide's tiles take memory.
    streams = 2 if len(jobs) > 1 and all(job.kind == "image" for job in jobs) else 1
    bundle, predictor = open_models(models, streams=streams, **(engine or {}))
    measure = None
    if objects:
        from unetpp.app.measuring import check_jobs, check_outputs, measure_prediction, prepare_survey

        check_jobs(jobs, out)
        check_outputs(jobs, out, overwrite=existing != "refuse", **objects)
        measure = prepare_survey(bundle.classes, out, **objects)
        if objects["split"] and "probabilities" not in extras:
            # Round objects are split by probabilities, as evaluate splits them.
            extras = ("probabilities", *extras)
    with errors.status("looking at the images ..."):
        options = {"extras": extras, "existing": existing, "pixel_size": pixel_size}
        options["identity"] = identity_of(models, engine or {})
        # Workers run elsewhere.
        folder = Folder(jobs, predictor, full_path(out), classes=bundle.classes, **options)
    for slide in folder.slides.values():
        show_slide(slide, predictor, bundle)
    with ExitStack() as stack:
        execute = threads(predictor)
        if cluster or workers:
            execute = stack.enter_context(spread_over(cluster, workers, models, engine or {}))
        bar = stack.enter_context(counting(errors))
        task = bar.add_task("predicting", total=len(folder.pieces))
        failures = folder.run(execute, done=lambda job: bar.advance(task))
    written = len(folder.outputs) - len(failures)
    console.print(
        f"{written} of {len(folder.outputs)} images written to {out}", highlight=False, soft_wrap=True
    )
    show_failures(failures)
    if measure:
        # An image that could not be read again has its former labels still.
        failed = {failure.where for failure in failures}
        left = [job for job in jobs if job.image not in failed]
        return measure_prediction(left, out, extras, measure) or bool(failures)
    return bool(failures)


def show_failures(failures: Sequence[UnetppError]) -> None:
    """Name what could not be used, a line each."""
    for failure in failures:
        errors.print(f"unetpp: {failure}", style="red", highlight=False, soft_wrap=True, markup=False)


def identity_of(models: list[Path], engine: dict) -> str:
    """What labels depend on besides their image: the models' files, and how they are run."""
    from unetpp.bundle import read_bundle

    return str([[sorted(read_bundle(path).sha256.items()) for path in models], sorted(engine.items())])


@contextmanager
def spread_over(address: str | None, workers: int | None, models: list[Path], engine: dict):
    """What does pieces of work on a cluster's workers."""
    from unetpp.bundle import find_bundle
    from unetpp.inference.cluster import Model, connect, spread, threads_each

    options = {**engine, "threads": threads_each(workers)} if workers and not address else engine
    with connect(address, workers or 1) as client:
        errors.print(f"{len(client.scheduler_info()['workers'])} workers", highlight=False)
        paths = tuple(str(find_bundle(path).resolve()) for path in models)
        yield spread(client, Model(paths, tuple(sorted(options.items())), identity_of(models, engine)))


def show_slide(slide, predictor, bundle) -> None:
    """What a slide will take, before it is begun."""
    from unetpp.inference.slides import memory

    planes = " x ".join(map(str, slide.plane_shape))
    what = f"{slide.image.name}: {planes + ' planes of ' if planes else ''}{slide.size[1]:,} x {slide.size[0]:,} pixels"
    left, total = len(slide.work()), slide.count
    resumed = f"{total - left:,} of {total:,} blocks are done, " if left < total else f"{total:,} blocks, "
    errors.print(
        f"{what}, {resumed}about {memory(slide, predictor, bundle.settings['filters']) / 1e9:.1f} GB of memory",
        highlight=False,
    )


def samples_for(model: Path, data: Path, places: dict):
    """The samples of DATA, whose masks mean what a model's classes do, as far as DATA says; and what `learnt` says."""
    from unetpp.bundle import read_bundle
    from unetpp.data.dataset import check_class_names, find_samples

    check_class_names(data, read_bundle(model).classes)
    samples = find_samples(data, **places)
    if note := learnt(model, samples):
        errors.print(note, highlight=False, soft_wrap=True)
    return samples, note


def learnt(model: Path, samples) -> str:
    """A sentence about those samples that a model was trained on, as far as its run's folder tells; "" without any."""
    from unetpp.training.start import former_sides

    try:
        known = former_sides(str(model))
    except SettingError:
        known = {}
    count = [known.get(sample.image.resolve()) for sample in samples].count(False)
    return (
        f"{count} of {len(samples)} images are those it was trained on: new ones will score lower"
        if count
        else ""
    )


def run_quantization(model: Path, data: Path, *, places) -> None:
    """Add an 8-bit graph, and print what it costs and gains."""
    from unetpp.app.show import comparison
    from unetpp.bundle import INT8
    from unetpp.inference.quantize import MOST_LOST, quantize

    samples, _ = samples_for(model, data, places)
    with errors.status("looking at the data ...") as status:
        before, after, bundle = quantize(model, samples, say=status.update)
    console.print(comparison({"before": before, "int8": after}))
    if bundle.graph == INT8:
        console.print("int8 is what this model predicts with from now on; --precision chooses another")
    else:
        console.print(
            f"a class loses more than {MOST_LOST} IoU: int8 is used only where --precision int8 is given"
        )


def run_levels(model: Path, data: Path, *, places, engine) -> None:
    """Print what each level of a model scores and costs."""
    from unetpp.app.show import comparison
    from unetpp.inference.levels import measure_levels

    prepare_engine([model], engine["engine"])
    samples, _ = samples_for(model, data, places)
    with errors.status("measuring the levels ..."):
        found = {f"level {level}": result for level, result in measure_levels(model, samples, **engine)}
    console.print(comparison(found))
    console.print(
        f"keep one: unetpp prune {model} --level LEVEL --out FOLDER", highlight=False, soft_wrap=True
    )


def prune_model(model: Path, level: int, out: Path, *, overwrite: bool) -> None:
    """Save a model cut off at a level."""
    import_training()
    from unetpp.export import save_pruned

    save_pruned(model, level, out, overwrite=overwrite)
    console.print(f"written: {out}", highlight=False, soft_wrap=True)


def export_model(model: Path) -> None:
    """Add the runtime graph to a bundle."""
    from unetpp.bundle import GRAPH, find_bundle

    folder = find_bundle(model)
    import_training()
    from unetpp.export import add_graph

    add_graph(folder)
    console.print(f"written: {folder / GRAPH}", highlight=False, soft_wrap=True)


def show_summary(model: Path | None) -> None:
    """A network's layers, and what is known of it."""
    if model is None:
        import_training()
        from unetpp.model.unetpp import UNetPP

        UNetPP().summary()
        return
    from unetpp.bundle import load_model

    choose_backend()
    bundle, network = load_model(model)
    network.summary()
    rows = [
        ("classes", ", ".join(bundle.classes) + (", and where objects touch" if bundle.seams else "")),
        ("long side", str(bundle.scaling.long_side or "as it is")),
    ]
    rows += [(name, str(value)) for name, value in asdict(bundle.normalization).items()]
    rows += [(name, str(value)) for name, value in bundle.origin.items() if not isinstance(value, dict)]
    console.print(settings_table(rows))


def open_models(paths: list[Path], **options):
    """`open_predictors`, with a backend of Keras that is installed if Keras is to run a network."""
    from unetpp.inference.predict import open_predictors

    prepare_engine(paths, options.get("engine", "auto"))
    return open_predictors(paths, **options)


def prepare_engine(paths: list[Path], engine: str) -> None:
    """Choose a backend of Keras if it is to run a model, and say so where that was not asked for."""
    from unetpp.bundle import GRAPH, read_bundle

    lacking = [path for path in paths if GRAPH not in read_bundle(path).sha256]
    for path in lacking if engine == "auto" else ():
        errors.print(f"{path} has no graph for OpenVINO: Keras runs it, slower (unetpp export adds one)")
    if engine == "keras" or lacking:
        choose_backend()


def import_training(*, several=False):
    """The training room, on a backend that is installed; for several devices on JAX."""
    choose_backend(("jax",) if several else BACKENDS)
    # TensorBoard's events are written by TensorFlow on any backend.
    with native_errors_hidden(), suppress(ImportError):
        importlib.import_module("tensorflow")
    try:
        from unetpp.training import fit
    except ImportError as error:
        raise InstallError(
            "Keras is not installed", mend='in the clone, run: pip install ".[train]"'
        ) from error
    return fit


def choose_backend(backends=BACKENDS) -> None:
    """Keras on the first installed of some backends, unless KERAS_BACKEND says which."""
    found = [name for name in backends if importlib.util.find_spec(name)]
    if found and importlib.util.find_spec("keras"):
        os.environ.setdefault("KERAS_BACKEND", found[0])
        try:
            with native_errors_hidden():
                importlib.import_module("keras")
        except (ImportError, ValueError) as error:
            raise InstallError(
                f"Keras cannot start with KERAS_BACKEND={os.environ['KERAS_BACKEND']}",
                mend="install that backend, or set KERAS_BACKEND to tensorflow, jax or torch",
            ) from error


@contextmanager
def native_errors_hidden():
    """Nothing that native code writes to the standard error within reaches the terminal.

    TensorFlow greets from C++ when it is imported, whatever its log level. Python's own errors are raised
    as ever.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
