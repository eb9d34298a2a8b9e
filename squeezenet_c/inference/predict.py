"""From pictures to answers. A picture goes the way validation pictures go: fitted into the model's
square, normalised as the model says, no flips, unless these are asked for: `tta`, test-time
augmentation, gives the mean of the logits of a picture and its three flips."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.equality import EqualByValue
from ..base.pictures import to_picture
from ..base.ranks import ALONE, Ranks, hash_of, over_ranks, ranks_of
from ..base.read import sentence
from ..data.dataset import Dataset
from ..data.marks import fingerprint
from ..network import HEAD_WEIGHT, Network
from ..preprocessing import Preprocessing
from .evaluation import Evaluation
from .metrics import decide, softmax, threshold_at, youden_threshold
from .weighted import check_prevalence

# Of a batch of squares, a row a picture.
Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class NotFiniteError(ValueError):
    """A network whose logits are NaN or infinite."""


@dataclass(frozen=True, eq=False)
class Answer(EqualByValue):
    """What a picture is: the class's number and name, its probability, and those of all classes.
    The class is the most probable one, or the one that the model's threshold says."""

    label: int
    name: str
    confidence: float
    probabilities: NDArray[np.float32]


@overload
def predict(
    model: Network,
    images: str | os.PathLike,
    batch_size: int = 32,
    *,
    tta: bool = False,
    comm: Any = None,
) -> Answer: ...
@overload
def predict(
    model: Network,
    images: Sequence[Any] | Dataset,
    batch_size: int = 32,
    *,
    tta: bool = False,
    comm: Any = None,
) -> list[Answer]: ...
@overload
def predict(
    model: Network, images: Any, batch_size: int = 32, *, tta: bool = False, comm: Any = None
) -> Any: ...
def predict(
    model: Network, images: Any, batch_size: int = 32, *, tta: bool = False, comm: Any = None
) -> Answer | list[Answer]:
    """The Answer for one picture; a list of them for a list, a Dataset, or an (N, H, W, 3) array.
    Pictures, tta and comm are what predict_proba takes."""
    answers = _answers(model, predict_proba(model, images, batch_size, tta=tta, comm=comm))
    return answers[0] if _is_single(images) else answers


def _answers(model: Network, probabilities: NDArray[np.float32]) -> list[Answer]:
    labels = decide(probabilities, model.threshold, model.positive)
    return [
        Answer(label, model.name_of(label), float(row[label]), row)
        for row, label in zip(probabilities, labels.tolist(), strict=True)
    ]


def predict_files(
    model: Network,
    paths: Sequence[str],
    batch_size: int = 32,
    ranks: Ranks = ALONE,
    *,
    tta: bool = False,
) -> Iterator[tuple[str, Answer | str]]:
    """(path, its Answer) of each picture file, in order; of one that cannot be read (path, the
    sentence that says why). The next batch is decoded while one is computed. Ranks take the batches
    in turns, and all yield all answers."""
    refuse_differences(ranks, model, paths)
    batch_size = max(1, min(batch_size, -(-len(paths) // ranks.size)))  # so that none is idle
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    own = batches[ranks.rank :: ranks.size]
    answered = _answered(model, own, tta)
    for _ in range(0, len(batches), ranks.size):
        for answers in ranks.every(next(answered, [])):
            yield from answers


def _answered(
    model: Network, batches: Sequence[Sequence[str]], tta: bool
) -> Iterator[list[tuple[str, Answer | str]]]:
    """predict_files' answers, a batch at a time."""
    if not batches:
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    size, fit = model.image_size, model.preprocessing.fit
    store = core.PictureStore([path for batch in batches for path in batch], size, 0, fit)
    with ThreadPoolExecutor(core.get_num_threads()) as pool:

        def decode(number: int) -> list[Future]:
            batch = batches[number] if number < len(batches) else []
            start = number * len(batches[0])  # only the last one is shorter
            return [
                pool.submit(_picture_or_reason, store, start + place) for place in range(len(batch))
            ]

        ahead = decode(0)
        for number, paths in enumerate(batches):
            futures, ahead = ahead, decode(number + 1)
            found = [future.result() for future in futures]
            pictures = [picture for picture in found if not isinstance(picture, str)]
            answers: Iterator[Answer] = iter(())
            if pictures:
                logits = _checked(_forward(model, np.stack(pictures), tta))
                answers = iter(_answers(model, softmax(logits).astype(np.float32)))
            yield [
                (path, picture if isinstance(picture, str) else next(answers))
                for path, picture in zip(paths, found, strict=True)
            ]


def _picture_or_reason(store: Any, index: int) -> NDArray[np.uint8] | str:
    try:
        return store.picture(index)
    except (OSError, ValueError) as error:
        return sentence(error)


@over_ranks
def predict_proba(
    model: Network, images: Any, batch_size: int = 32, *, tta: bool = False, comm: Any = None
) -> NDArray[np.float32]:
    """(N, classes) float32 probabilities, column c for class c; N is 1 for one picture.

    images: one picture, a list of them, a Dataset, or an (N, H, W, 3) uint8 array. A picture is a
    path, a PIL image, or a uint8 array: (H, W, 3), (H, W, 4) whose alpha is dropped, or (H, W),
    which is grey.
    tta: of the mean of the logits of the picture and its three flips, at four times the work. Not
    of the probabilities, so that a temperature means what it does without: it divides the mean as
    it divides each. A threshold that is to go with it is best chosen with it, by
    choose_threshold(tta=True). Of use where pictures were flipped in training.
    comm: an mpi4py communicator, whose ranks call this alike and share the pictures, each once; all
    return all answers.
    TypeError, ValueError: something else; BadFileError, OSError: a file that is no picture.
    """
    if _is_single(images):
        images = [images]
    refuse_differences(comm, model, images)
    return softmax(_shared_logits(model, images, batch_size, comm, tta)).astype(np.float32)


@over_ranks
def features(
    model: Network, images: Any, batch_size: int = 32, *, comm: Any = None
) -> NDArray[np.float32]:
    """(N, C) float32: what the network has made of each picture before it is classified, for other
    classifiers, for clusters and for finding pictures that are alike.

    The mean over pixels of what the last convolution reads, Fire 9's output after its ReLU, so
    numbers of at least 0 (with bypass="complex" of any sign). C is 512, or as many as the
    metaparameters say. Where final_relu is False the logits are the last convolution's weights
    times these, plus its bias. In whatever precision is set, with the same bits on any number of
    threads. images, comm and errors: as of predict_proba.
    """
    if _is_single(images):
        images = [images]
    refuse_differences(comm, model, images)
    width = core.parameter_shapes(**model.spec)[HEAD_WEIGHT][1]

    def compute(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return model.pooled_features(model.input_of(pictures))

    return _shared_rows(compute, width, model, images, batch_size, comm)


@over_ranks
def evaluate(
    model: Network,
    dataset: Dataset,
    batch_size: int = 32,
    *,
    tta: bool = False,
    prevalence: float | None = None,
    comm: Any = None,
) -> Evaluation:
    """The model's Evaluation on a labelled set. prevalence: the share of positives where the model
    is to be used, for ppv and npv (default: the set's own); tta, comm: see predict_proba.
    ValueError: a prevalence that is none; see match_classes."""
    check_prevalence(prevalence, model.num_classes)
    dataset = match_classes(dataset, model.class_names, model.num_classes)
    names = model.class_names or tuple(str(label) for label in range(model.num_classes))
    refuse_differences(comm, model, dataset)
    logits = dataset_logits(model, dataset, batch_size, tta=tta, comm=comm)
    return Evaluation.from_logits(
        logits, dataset.labels, names, model.threshold, model.positive, prevalence
    )


@over_ranks
def choose_threshold(
    model: Network,
    dataset: Dataset,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    tta: bool = False,
    comm: Any = None,
) -> float:
    """Set model.threshold to what tells `dataset` apart best, by Youden's index, and return it.
    With `sensitivity`, a share: to the one of the greatest specificity of those that find at least
    this share of the positives; with `specificity` the other way round. The set should be pictures
    that neither trained the model nor will be reported on, such as the second of
    `training_set.split(valid_fraction, seed)`, which is `train`'s selection set. tta, comm:
    see predict_proba.

    ValueError: both shares, or one that is none; the model has not two classes; a set without both,
    or with one score for all, or of other classes (see match_classes).
    """
    if model.positive is None:
        raise ValueError(f"the model has {model.num_classes} classes; a threshold is for two")
    dataset = match_classes(dataset, model.class_names, model.num_classes)
    scores = softmax(dataset_logits(model, dataset, tta=tta, comm=comm))[:, model.positive]
    positive = dataset.labels == model.positive
    if sensitivity is None and specificity is None:
        model.threshold = youden_threshold(positive, scores)
    else:
        model.threshold = threshold_at(positive, scores, sensitivity, specificity)
    return model.threshold


def dataset_logits(
    model: Network, dataset: Dataset, batch_size: int = 32, *, tta: bool = False, comm: Any = None
) -> NDArray[np.float32]:
    """(N, classes) logits of a set's pictures, in its order; tta, comm: see predict_proba."""
    with ranks_of(comm) as ranks:
        return _shared_logits(model, dataset, batch_size, ranks, tta)


def match_classes(dataset: Dataset, class_names: Sequence[str] | None, num_classes: int) -> Dataset:
    """The set with its classes numbered as a model with these numbers them. By their names: the
    same in another order are mapped. A set whose names are only numbers (as of a list file), or a
    model without names, says nothing to compare: labels are then the model's numbers.

    ValueError: other names, or a label that is none of the model's classes.
    """
    if class_names is not None and dataset.has_names:
        try:
            dataset = dataset.with_class_names(class_names)
        except ValueError as error:
            raise ValueError(f"the set is not of the model's classes: {error}") from None
    wrong = np.flatnonzero(dataset.labels >= num_classes)
    if len(wrong):
        raise ValueError(
            f"{dataset.paths[wrong[0]]} has the label {dataset.labels[wrong[0]]}, expected 0 to "
            f"{num_classes - 1}: the model has {num_classes} classes"
        )
    return dataset


def _shared_logits(
    model: Network, images: Any, batch_size: int, ranks: Ranks, tta: bool
) -> NDArray[np.float32]:
    def compute(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return _forward(model, pictures, tta)

    return _shared_rows(compute, model.num_classes, model, images, batch_size, ranks)


def _shared_rows(
    compute: Compute, width: int, model: Network, images: Any, batch_size: int, ranks: Ranks
) -> NDArray[np.float32]:
    """What `compute` makes of all pictures, a row of `width` each; we compute our own."""
    batches = _batches(images, ranks.of_set(len(images)), model.preprocessing, batch_size)
    parts = [compute(pictures) for pictures in batches]
    rows = np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
    return _checked(ranks.joined(rows))


def _forward(model: Network, pictures: NDArray[np.uint8], tta: bool) -> NDArray[np.float32]:
    """The logits of a batch of squares; tta: see predict_proba."""
    if not tta:
        return model.forward(model.input_of(pictures))
    across, down = pictures[:, :, ::-1], pictures[:, ::-1]
    flips = [pictures, across, down, across[:, ::-1]]
    return np.mean([model.forward(model.input_of(flip)) for flip in flips], axis=0)


def _checked(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(rows).all():
        raise NotFiniteError("the model's logits are not finite numbers: its weights are broken")
    return rows


def _is_single(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return not isinstance(images, Dataset | Sequence) or isinstance(images, str)


def refuse_differences(ranks: Ranks, model: Network, images: Any) -> None:
    """ValueError where ranks that share these pictures have other ones, or another model."""

    def said() -> dict[str, Any]:
        what = f"{len(images)} pictures"
        if isinstance(images, Dataset) or _are_paths(images):
            what = fingerprint(images)
        return {
            **model.spec,
            **model.preprocessing.to_dict(),
            "precision": model.precision,
            "what is judged": what,
            "the hash of the weights": hash_of(model.state_dict()),
        }

    ranks.refuse_differences(said)


def _are_paths(images: Any) -> bool:
    return all(isinstance(image, str | os.PathLike) for image in images)


def _batches(
    images: Any, own: slice, preprocessing: Preprocessing, batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """The squares of images[own]."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    image_size, fit = preprocessing.image_size, preprocessing.fit
    if isinstance(images, Dataset):
        order = np.arange(len(images))[own]
        for _, pictures in images.at_size(image_size, fit).batches(batch_size, order):
            yield pictures
        return
    images = images[own]
    if len(images) and _are_paths(images):
        # Decoded ahead on threads, and not kept.
        paths = [os.fspath(image) for image in images]
        loader = core.PictureStore(paths, image_size, 0, fit).loader(np.arange(len(paths)))
        for start in range(0, len(paths), batch_size):
            yield loader.next(min(batch_size, len(paths) - start))
        return
    for start in range(0, len(images), batch_size):
        group = images[start : start + batch_size]
        yield np.stack([preprocessing.square(to_picture(image)) for image in group])
