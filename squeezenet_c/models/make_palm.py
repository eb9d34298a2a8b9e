"""Makes the packaged model of PALM from nothing but its photographs and ImageNet's weights:

    python -m squeezenet_c.models.make_palm PALM squeezenet1_1-imagenet.safetensors

Fine-tuned on the 400 training photographs, then compressed. Its temperature and its threshold are
chosen by cross-fitting: the whole recipe is run once for each of five folds without that fold's
photographs, and what those five models say of them, 400 answers on photographs that their model has
not seen, choose both. The validation photographs are looked at once, at the end, for the card."""

import argparse
import os
import sys
import textwrap
import time

import numpy as np
from numpy.typing import NDArray

from .. import palm
from .._native import core
from ..base.write import write_text
from ..compression.compress import compress
from ..data.check import check_data
from ..data.dataset import Dataset
from ..inference import intervals
from ..inference.calibration import best_temperature
from ..inference.metrics import decide, expected_calibration_error, softmax, youden_threshold
from ..inference.predict import dataset_logits
from ..model import Model
from ..training.loop import train
from . import packaged_model

SIZE_KB = 100
EPOCHS = 8  # of fine-tuning; compressing trains further
FOLDS = 5


def make(pictures: Dataset, pretrained: str, seed: int, size_kb: float = SIZE_KB) -> Model:
    """The recipe but for temperature and threshold."""
    model = Model.from_pretrained(pretrained, class_names=pictures.class_names, seed=seed)
    train(model, pictures, epochs=EPOCHS, seed=seed)
    return compress(model, pictures, pictures, size_kb=size_kb, seed=seed)


def without_copies(training: Dataset, validation: Dataset) -> Dataset:
    """The training photographs that are not validation photographs too (P0057 is V0252)."""
    leaks = check_data(training, validation).leaks
    both = {path for pair in leaks for path in (pair.first, pair.second)}
    return training.subset([i for i, path in enumerate(training.paths) if path not in both])


def folds_of(pictures: Dataset, seed: int) -> NDArray[np.int64]:
    """The fold of each picture, 0 to 4: of each class the same share in each."""
    folds = np.empty(len(pictures), np.int64)
    for label in np.unique(pictures.labels):
        members = np.flatnonzero(pictures.labels == label)
        order = core.shuffle(len(members), seed, int(label))
        folds[members[order]] = np.arange(len(members)) % FOLDS
    return folds


def unseen_logits(pictures: Dataset, pretrained: str, seed: int) -> NDArray[np.float32]:
    """(N, 2): of each picture by the model of the recipe that has not seen its fold."""
    logits = np.empty((len(pictures), 2), np.float32)
    folds = folds_of(pictures, seed)
    for fold in range(FOLDS):
        print(f"Fold {fold + 1} of {FOLDS}", flush=True)
        unseen = np.flatnonzero(folds == fold)
        model = make(pictures.subset(np.flatnonzero(folds != fold)), pretrained, seed)
        logits[unseen] = dataset_logits(model, pictures.subset(unseen))
    return logits


def _figures(model: Model, pictures: Dataset) -> str:
    """Rows of a table: each figure with its 95 % interval."""
    probabilities = model.predict_proba(pictures).astype(np.float64)
    predicted = decide(probabilities, model.threshold, model.positive)
    found = intervals.measure(pictures.labels, probabilities, predicted)
    return "\n".join(f"| {name.replace('_', ' ')} | {figure} |" for name, figure in found.items())


CARD = """# The model `palm`

Of a colour photograph of the eye's fundus it tells whether it shows pathologic myopia (病理性近视).
SqueezeNet v1.1, int8, compressed to {size_bytes} bytes; `sq.palm.model()`, or `palm` where a
command takes MODEL. This page is written by the program that makes the model.

**It is no medical device.** It has seen {seen} photographs of one study, of one kind of camera and
one population, every second of them pathologic, and knows no other disease, no other quality of
picture and no eye that is not photographed like these. It is for learning, for trying out
software, and as a start for a model of your own. It must not decide on anybody's treatment.

## Data

PALM (iChallenge-PM): Fang et al., "Open fundus photograph dataset with pathologic myopia
recognition and anatomical structure annotation", Scientific Data 11, 99 (2024), whose data are
open for research; see there for their terms. Trained on {seen} of its 400 training photographs
(what is left out is a validation photograph too), at 224 x 224. The start was SqueezeNet v1.1 of
ImageNet (torchvision's IMAGENET1K_V1, BSD-3). No photograph is in this package.

## Recipe

    python -m squeezenet_c.models.make_palm PALM squeezenet1_1-imagenet.safetensors --seed {seed}

Fine-tuned for {epochs} epochs, then `sq.compress` to {size_kb:g} kB: pruned while it learns, at
most 16 values a layer, Huffman codes. Temperature {temperature:.3f} (folded into the last
convolution) and threshold {threshold:.3f} are from {folds} models of the same recipe, each asked
about the fifth of the training photographs that it had not seen. Of those {seen} answers
{unseen:.4f} were right, with an expected calibration error of {unseen_error:.4f} after scaling.
Nothing was chosen on what follows.

## Figures

On the {count} of PALM's validation photographs that were at hand, with 95 % intervals:

| figure | value |
| --- | --- |
{figures}

Positive is pathologic myopia. The error of calibration (15 bins) of a model that is calibrated
perfectly is about 0.02 on as few pictures, by chance alone.
"""


def _wrapped(card: str) -> str:
    """Its paragraphs of prose in lines of 98."""
    paragraphs = card.split("\n\n")
    return "\n\n".join(
        text if text.startswith(("#", " ", "|")) else textwrap.fill(text.replace("\n", " "), 98)
        for text in paragraphs
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("palm", metavar="PALM", help="the folder of PALM's photographs")
    parser.add_argument("pretrained", metavar="WEIGHTS", help="ImageNet's, of SqueezeNet v1.1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=packaged_model("palm"), help="default: in the package")
    options = parser.parse_args()
    begun = time.monotonic()
    training, validation = palm.load(options.palm)
    training = without_copies(training, validation)
    logits = unseen_logits(training, options.pretrained, options.seed)
    temperature = best_temperature(logits, training.labels)
    scores = softmax(logits / temperature)
    model = make(training, options.pretrained, options.seed)
    model.divide_logits(temperature)
    model.threshold = youden_threshold(training.labels == 1, scores[:, 1])
    model.save(options.out)
    card = CARD.format(
        size_bytes=os.path.getsize(options.out),
        seen=len(training),
        seed=options.seed,
        epochs=EPOCHS,
        size_kb=SIZE_KB,
        temperature=temperature,
        threshold=model.threshold,
        folds=FOLDS,
        unseen=(logits.argmax(axis=1) == training.labels).mean(),
        unseen_error=expected_calibration_error(training.labels, scores),
        count=len(validation),
        figures=_figures(model, validation),
    )
    card = _wrapped(card).rstrip() + "\n"
    write_text(os.path.splitext(options.out)[0] + ".md", card)
    print(f"{card}\nMade in {(time.monotonic() - begun) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
