"""Deep Compression (Han et al. 2016, arXiv:1510.00149) of a network for its task: pruned while it
learns, then with few values a layer, which learn too; all of it in the whole numbers of an int8
model, so that what is coded in the file and what computes are the same. What it learns are the
answers of the network as it was (Hinton et al. 2015, arXiv:1503.02531)."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.plots import caption, draw_figure
from ..base.write import check_writable
from ..data.augment import Augment
from ..data.dataset import Dataset
from ..data.marks import add_marks, fingerprint
from ..data.provenance import training_of
from ..inference.predict import match_classes
from ..network import AnyNetwork, Network
from ..training import loop
from ..training.distillation import mark_of
from ..training.history import History
from ..training.recipe import Recipe
from ..training.resume import RunState
from .prune import PruningAdam, prune, weight_names
from .quantize import quantize
from .sensitivity import DENSITIES, TRIED, allocate, bits_a_weight, fitted, sensitivity
from .shared_values import SharedValuesAdam, codebooks
from .size import bytes_besides_codes, coded_bytes, file_bytes, scales_of
from .way import Way

HELD_OUT_FRACTION = 0.2  # of the training pictures: layers are measured on some of it
MEASURED_ON = 40  # pictures, where there are as many
PRUNING_SHARE = 0.7  # of the epochs; in the rest what is left settles
SHARING_RATE = 5  # times the learning rate: values are few, and many weights agree on each
TEMPERATURE = 4.0  # at which it learns the model's answers
SPARE = 0.99  # of the bytes, for what training changes; the end uses them all
MOST_MARKS = 128  # of training pictures that the file keeps, 16 bytes each


def compress(
    model: AnyNetwork,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    size_kb: float = 100,
    epochs: int = 12,
    sharing_epochs: int = 4,
    batch_size: int = 8,
    lr: float = 3e-4,
    seed: int = 0,
    augment: bool | str | Augment = "flips",
    progress: bool = True,
    state: str | os.PathLike | None = None,
    resume: str | os.PathLike | None = None,
    plot: str | os.PathLike | None = None,
) -> AnyNetwork:
    """An int8 model in a file of less than `size_kb` * 1000 bytes, made of `model` by training it
    further; `model` stays as it is. It runs in float32 and bfloat16 as well.

    train       the pictures on which it learns to answer as `model` does, best those that this has
                learnt from; their labels are only for the accuracies that are shown
    valid       judged after every epoch, to be shown and for nothing else. Without it a fifth of
                the training pictures, which it then does not learn from
    size_kb     of the file that Model.save writes, in thousands of bytes
    epochs      in which it is pruned: each layer to a density of its own, by what the network's
                answers lose where that layer alone is pruned, measured on 40 of the training
                pictures
    sharing_epochs      in which a layer has 15 values besides 0, and these and the biases learn
    lr          the peak learning rate of both, for all layers alike; it falls along half a cosine
    batch_size, seed, augment, progress     as `train` has them
    state       file for the state of the run, from which it is resumed where it was stopped.
                Written atomically at its beginning and after every epoch
    resume      resume the run of this file, with the other arguments as they were. The result is
                the uninterrupted run's bit for bit. `state` is then this file, if no other is named
    plot        file for a plot of accuracy against size over the run

    The result is a function of the arguments, bit for bit. A threshold and a temperature of the
    model's are dropped.

    ValueError: an argument is not what it should be, or not what the run to resume was begun with;
    a size that cannot be reached, with the least that can be; what `quantize` refuses. OSError,
    BadFileError, TrainingError: see `train`. KeyboardInterrupt: as ever.
    """
    train = match_classes(train, model.class_names or train.class_names, model.num_classes)
    rest, part = train.split(HELD_OUT_FRACTION, seed)
    learnt, judged = (rest, part) if valid is None else (train, valid)
    state = resume if state is None else state
    for path in (state, plot):
        if path is not None:
            check_writable(path)
    quantize(model, learnt)  # refuses now what it would refuse in the end
    teacher = model.copy()
    teacher.precision = "float32"
    teacher.threshold, teacher.temperature = None, 1.0  # they will be for other weights
    twin = teacher.copy(dropout=0.0)  # in the answers that it is to learn is no chance
    most = _most_bytes(teacher, learnt, size_kb, seed)
    say = print if progress else _say_nothing
    arguments = {
        "model": mark_of(teacher),
        "training set": fingerprint(learnt),
        "pictures to measure on": fingerprint(part),
        "size_kb": size_kb,
        "epochs": epochs,
        "sharing_epochs": sharing_epochs,
        "lr": lr,
    }
    run = None if resume is None else RunState.read(resume)
    way = Way(arguments) if run is None else Way.resumed(run, arguments, twin)

    if way.rises is None:
        if state is not None:
            way.begin(state, twin)
        run, way.rises = None, _measured(twin, part, progress)
    curves = fitted(way.rises)
    counts = {name: twin.gradients[name].size for name in curves}
    densities = allocate(curves, counts, lambda d: coded_bytes(twin, d), SPARE * most)
    say(f"Pruning to {_mean(densities, counts):.1%} of the weights")
    steps = -(-len(learnt) // batch_size) * epochs
    pruning = PruningAdam(twin, densities, max(1, round(PRUNING_SHARE * steps)), lr=lr)
    given: dict[str, Any] = {
        "state": state,
        "batch_size": batch_size,
        "seed": seed,
        "augment": augment,
        "progress": progress,
        "teacher": teacher,
        "temperature": TEMPERATURE,
    }
    if way.pruned is None or way.scales is None or run is None:
        pruning.notes = way.notes()
        way.pruned = loop.train(
            twin,
            learnt,
            judged,
            epochs=epochs,
            recipe=Recipe(lr=lr),
            optimizer=pruning,
            resume=None if run is None else resume,
            **given,
        )
        _go_on(way.pruned)
        densities = allocate(curves, counts, lambda d: coded_bytes(twin, d), most)
        twin.load_state_dict(prune(twin.state_dict(), densities))
        run, way.scales = None, scales_of(twin)
        books = codebooks(twin.state_dict(), way.scales, twin)
    else:
        books = way.books_of(run, twin)
    say("Training the values that the weights of a layer share")
    sharing = SharedValuesAdam(twin, books, SHARING_RATE * lr)
    sharing.notes = way.notes()
    shared = loop.train(
        twin,
        learnt,
        judged,
        epochs=sharing_epochs,
        recipe=Recipe(lr=SHARING_RATE * lr),
        optimizer=sharing,
        resume=None if run is None else resume,
        **given,
    )
    _go_on(shared)
    _round_biases(twin)
    twin.trained_on = twin.trained_on[:MOST_MARKS]
    compressed = twin.copy(dropout=model.spec["dropout"])
    result = quantize(compressed, learnt, scales=way.scales)
    if plot is not None:
        _plot(plot, pruning, steps, way.pruned, shared, file_bytes(result))
    return result


def _say_nothing(text: str) -> None:
    pass


def _go_on(history: History) -> None:
    """Ctrl-C ends `train` alone; here there is more to end."""
    if history.interrupted:
        raise KeyboardInterrupt


def _most_bytes(network: Network, train: Dataset, size_kb: float, seed: int) -> int:
    """That the codes may take. ValueError: they cannot take so few."""
    if not (math.isfinite(size_kb) and size_kb > 0):
        raise ValueError(f"size_kb is {size_kb!r}, expected a number above 0")
    marked = network.copy()
    marked.class_names = network.class_names or train.class_names
    marked.trained_on = add_marks(network.trained_on, train)[:MOST_MARKS]
    marked.provenance = training_of(train, seed)
    besides = bytes_besides_codes(marked)
    least = {name: float(DENSITIES[0]) for name in weight_names(network)}
    least_bytes = besides + math.ceil(coded_bytes(network, least) / SPARE)
    if size_kb * 1000 <= least_bytes:
        raise ValueError(
            f"size_kb is {size_kb:g}, expected at least {math.ceil(least_bytes / 100 + 1) / 10:g}: "
            f"{besides:,} bytes are biases, scales and what the file says of the model, and the "
            f"rest is each layer's weights at a density of {DENSITIES[0]:g}"
        )
    return math.ceil(size_kb * 1000) - 1 - besides


def _measured(network: Network, pictures: Dataset, progress: bool) -> dict[str, list[float]]:
    """sensitivity with a progress bar."""
    count = min(MEASURED_ON, len(pictures))
    pictures = pictures.subset(np.arange(count) * len(pictures) // count)  # of every class
    pictures = pictures.at_size(network.image_size, network.preprocessing.fit)
    if not progress:
        return sensitivity(network, pictures, TEMPERATURE)
    from tqdm import tqdm

    total = len(weight_names(network)) * len(TRIED)
    print(f"Measuring what each layer can lose, on {len(pictures)} training pictures", flush=True)
    with tqdm(total=total, unit=" passes", leave=False, disable=None) as bar:
        return sensitivity(network, pictures, TEMPERATURE, bar.update)


def _mean(densities: Mapping[str, float], counts: Mapping[str, int]) -> float:
    return sum(densities[name] * counts[name] for name in counts) / sum(counts.values())


def _round_biases(network: Network) -> None:
    """To float16, where they are finite in it."""
    rounded = {}
    for name, values in network.state_dict().items():
        with np.errstate(over="ignore"):
            half = values.astype(np.float16).astype(np.float32)
        rounded[name] = half if values.ndim == 1 and np.isfinite(half).all() else values
    network.load_state_dict(rounded)


# -- The plot --------------------------------------------------------------------------------------


def _plot(
    path: str | os.PathLike,
    pruning: PruningAdam,
    steps: int,
    pruned: History,
    shared: History,
    size: int,
) -> None:
    """Accuracy against the file's size in bytes, epoch by epoch: while it is pruned, in that many
    steps, about what it would take; from there on `size`."""
    last = _about(pruning, steps)
    sizes = [
        size * _about(pruning, round(row.epoch / len(pruned) * steps)) / last / 1000
        for row in pruned
    ]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot(sizes, [row.valid_acc for row in pruned], "o-", label=caption("pruning"))
        axes.plot(
            [size / 1000] * len(shared),
            [row.valid_acc for row in shared],
            "o-",
            label=caption("values shared"),
        )
        axes.set(xlabel=caption("size in kB"), ylabel=caption("accuracy"))
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
        axes.legend()

    draw_figure(draw, (7, 4), path)


def _about(pruning: PruningAdam, step: int) -> float:
    """The bits of the weights after that many steps."""
    after = pruning.densities_after(step)
    counts = pruning.counts
    return sum(counts[name] * float(bits_a_weight(density)) for name, density in after.items())
