"""What the commands do, with a terminal to show it on."""

import shlex
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unetpp.app.backends import choose_backend, import_training, open_models, prepare_engine
from unetpp.app.evaluating import facts_of, samples_for
from unetpp.app.objects import settle, words
from unetpp.app.progress import counting, settings_table
from unetpp.app.terminal import console, errors, print_table, show_failures
from unetpp.errors import SettingError


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
    # Those of slides and stacks say how large their pixels are.
    if pixel_size and is_file(out) and all(job.kind == "image" for job in jobs):
        raise SettingError(
            "one label image has no scale bar", mend="leave out --pixel-size, or give a folder"
        )
    # Two images at a time wait less for each other's reading and writing; a slide's tiles take memory.
    streams = 2 if len(jobs) > 1 and all(job.kind == "image" for job in jobs) else 1
    bundle, predictor = open_models(models, streams=streams, **(engine or {}))
    measure = None
    if objects:
        from unetpp.app import measuring

        objects = {**objects, **settle(objects, bundle)}
        measuring.check_folder(out)
        measuring.check_outputs(jobs, out, overwrite=existing != "refuse", **objects)
        if existing == "skip":
            measuring.check_same_images(jobs, out, objects["table"])
        measure = measuring.prepare_survey(bundle.classes, out, **objects)
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
    wanted = len(folder.outputs)
    line = f"{wanted - len(failures)} of {wanted} images written to {out}"
    line = line if wanted else f"nothing is left to do: all {len(jobs)} images are in {out} already"
    console.say(line)
    show_failures(failures)
    if measure:
        # An image that could not be read again has its former labels still.
        failed = {failure.where for failure in failures}
        left = [job for job in jobs if job.image not in failed]
        return measuring.measure_prediction(left, out, extras, measure) or bool(failures)
    return bool(failures)


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
        errors.say(f"{len(client.scheduler_info()['workers'])} workers")
        paths = tuple(str(find_bundle(path).resolve()) for path in models)
        yield spread(client, Model(paths, tuple(sorted(options.items())), identity_of(models, engine)))


def show_slide(slide, predictor, bundle) -> None:
    """What a slide will take, before it is begun."""
    from unetpp.inference.slides import memory

    planes = " x ".join(map(str, slide.plane_shape))
    what = f"{slide.image.name}: {planes + ' planes of ' if planes else ''}{slide.size[1]:,} x {slide.size[0]:,} pixels"
    left, total = len(slide.work()), slide.count
    resumed = f"{total - left:,} of {total:,} blocks are done, " if left < total else f"{total:,} blocks, "
    errors.say(
        f"{what}, {resumed}about {memory(slide, predictor, bundle.settings['filters']) / 1e9:.1f} GB of memory",
    )


def run_quantization(model: Path, data: Path, *, places) -> None:
    """Add an 8-bit graph, and print what it costs and gains."""
    from unetpp.app.show import comparison
    from unetpp.bundle import INT8
    from unetpp.inference.quantize import MOST_LOST, quantize

    samples, _ = samples_for(model, data, places)
    with errors.status("looking at the data ...") as status:
        before, after, bundle = quantize(model, samples, say=status.update)
    print_table(comparison({"before": before, "int8": after}))
    if bundle.graph == INT8:
        console.say("int8 is what this model predicts with from now on; --precision chooses another")
    else:
        console.say(
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
    print_table(comparison(found))
    words = ["unetpp", "prune", str(model), "--level", "LEVEL", "--out", "FOLDER"]
    console.say(f"keep one: {shlex.join(words)}")


def prune_model(model: Path, level: int, out: Path, *, overwrite: bool) -> None:
    """Save a model cut off at a level."""
    import_training()
    from unetpp.export import save_pruned

    save_pruned(model, level, out, overwrite=overwrite)
    console.say(f"written: {out}")


def export_model(model: Path) -> None:
    """Add the runtime graph to a bundle."""
    from unetpp.bundle import GRAPH, find_bundle

    folder = find_bundle(model)
    import_training()
    from unetpp.export import add_graph

    add_graph(folder)
    console.say(f"written: {folder / GRAPH}")


def show_summary(model: Path | None) -> None:
    """A network's layers, and what is known of it."""
    if model is None:
        import_training()
        from unetpp.model.unetpp import UNetPP

        UNetPP().summary(print_fn=console.say)
        return
    from unetpp.bundle import load_model

    choose_backend()
    bundle, network = load_model(model)
    network.summary(print_fn=console.say)
    rows = [
        ("classes", ", ".join(bundle.classes) + (", and where objects touch" if bundle.seams else "")),
        ("objects", words(bundle.objects)),
        ("long side", str(bundle.scaling.long_side or "as it is")),
    ]
    scale = bundle.normalization
    mean, std = (" ".join(f"{value:.3f}" for value in values) for values in (scale.mean, scale.std))
    rows.append(("normalisation", "each image by itself" if scale.per_image else f"mean {mean}, std {std}"))
    if scale.bits:
        rows.append(("bits", str(scale.bits)))
    rows += [(name, what) for name, what in facts_of(bundle) if name.startswith("trained")]
    print_table(settings_table(rows))
