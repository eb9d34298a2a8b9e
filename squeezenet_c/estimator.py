"""SqueezeNet as a classifier of scikit-learn, an extra: it is imported when it is first asked for.

X is pictures, in the two forms that scikit-learn's own tools can divide: an array, or a list. Its
checks of estimators (`check_estimator`) are of rows of numbers, of which this takes none, as its
tags say; tests/test_estimator.py has them run by a classifier that draws its pictures from rows.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data.dataset import Dataset
from .model import Model

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d
except ImportError:
    raise ImportError(
        'SqueezeNetClassifier needs scikit-learn: pip install "squeezenet_c[sklearn]"'
    ) from None


class SqueezeNetClassifier(ClassifierMixin, BaseEstimator):
    """A SqueezeNet that `fit` trains, for scikit-learn: cross_val_score, GridSearchCV,
    CalibratedClassifierCV, clone and joblib.

    X is (N, H, W, 3) uint8, (N, H, W) which is grey, or a list of N pictures, all paths or none:
    arrays of any sizes, PIL images, files. y is labels of any kind; sample weights there are none
    (class_weights="balanced" weighs classes).

    arch            "1_0" or "1_1". None: "1_1", or that of `pretrained`, of which it cannot be
                    another
    epochs, batch_size, lr, augment, class_weights, freeze, weight_decay, label_smoothing
                    as `train` takes them
    image_size      side in pixels of the squares that pictures become. None: 224, or that of
                    `pretrained`
    pretrained      a model's file to start from, see Model.from_pretrained
    valid_fraction  the share of the pictures that the best epoch is chosen on, which are not learnt
                    from; None: the last epoch's weights are kept
    early_stopping  stop after so many epochs without a new best
    seed            of the weights, the order, the flips, dropout, and valid_fraction
    progress        print a line an epoch
    network         further arguments of Model, or of from_pretrained, by name
    train_options   further arguments of `train`, by name

    After fit: classes_, model_ (the Model, whose classes are called by str() of classes_) and
    history_. There is no n_features_in_, for pictures may have any size.
    """

    def __init__(
        self,
        arch: str | None = None,
        *,
        epochs: int = 20,
        batch_size: int = 16,
        lr: float | None = None,
        image_size: int | None = None,
        pretrained: str | os.PathLike | None = None,
        augment: Any = True,
        valid_fraction: float | None = None,
        early_stopping: int | None = None,
        class_weights: str | Sequence[float] | None = None,
        freeze: str | int | Sequence[str] | None = None,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        progress: bool = False,
        network: Mapping[str, Any] | None = None,
        train_options: Mapping[str, Any] | None = None,
    ):
        self.arch = arch
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.image_size = image_size
        self.pretrained = pretrained
        self.augment = augment
        self.valid_fraction = valid_fraction
        self.early_stopping = early_stopping
        self.class_weights = class_weights
        self.freeze = freeze
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.progress = progress
        self.network = network
        self.train_options = train_options

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any) -> "SqueezeNetClassifier":
        """Train a fresh model. ValueError, TypeError: X is no pictures, y is no classes or only
        one, or another length. What `train` raises; KeyboardInterrupt where Ctrl-C ended it."""
        if y is None:
            raise ValueError(
                "SqueezeNetClassifier requires y to be passed, but the target y is None"
            )
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        pictures = _pictures(X)
        if len(pictures) != len(y):
            raise ValueError(f"{len(pictures)} pictures and {len(y)} labels, expected as many")
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"all pictures are of one class, {self.classes_[0]!r}; expected two or more"
            )
        names = [str(name) for name in self.classes_.tolist()]
        model = self._fresh_model(names)
        dataset = _dataset(pictures, labels, names, model.image_size)
        with tempfile.TemporaryDirectory() as folder:
            best = None if self.valid_fraction is None else Path(folder) / "best.safetensors"
            self.history_ = model.train(
                dataset,
                epochs=self.epochs,
                batch_size=self.batch_size,
                lr=self.lr,
                seed=self.seed,
                checkpoint=best,
                valid_fraction=self.valid_fraction,
                augment=self.augment,
                early_stopping=self.early_stopping,
                class_weights=self.class_weights,
                freeze=self.freeze,
                weight_decay=self.weight_decay,
                label_smoothing=self.label_smoothing,
                progress=self.progress,
                **(self.train_options or {}),
            )
            if self.history_.interrupted:
                raise KeyboardInterrupt
            self.model_ = model if best is None else Model.load(best, model.precision)
        return self

    def _fresh_model(self, names: list[str]) -> Model:
        given = {**(self.network or {}), "seed": self.seed, "class_names": names}
        if self.image_size is not None:
            given["image_size"] = self.image_size
        if self.pretrained is None:
            return Model(self.arch or "1_1", len(names), **given)
        model = Model.from_pretrained(self.pretrained, **given)
        if self.arch not in (None, model.version):
            raise ValueError(
                f"arch is {self.arch!r}, and that of {self.pretrained} is {model.version!r}"
            )
        return model

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(N, classes), in the order of classes_."""
        check_is_fitted(self, "model_")
        model = self.model_
        label_of = {model.name_of(label): label for label in range(model.num_classes)}
        columns = [label_of[str(name)] for name in self.classes_.tolist()]
        return model.predict_proba(_pictures(X))[:, columns]

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable of classes_ for each picture."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _pictures(X: Any) -> list[Any]:
    """X as a list, of paths or of what from_arrays takes. TypeError, ValueError: it is neither."""
    expected = "expected (N, H, W, 3) or (N, H, W) uint8, or a list of pictures or of paths"
    if isinstance(X, str | bytes | os.PathLike) or not hasattr(X, "__len__"):
        raise TypeError(f"X is a {type(X).__name__}, {expected}")
    dimensions = getattr(X, "ndim", 1)
    if dimensions not in (1, 3, 4):
        raise ValueError(f"X is a {type(X).__name__} of the shape {X.shape}, {expected}")
    if dimensions > 1 and X.dtype != np.uint8:
        raise ValueError(f"X is an array of {X.dtype}, {expected}")
    pictures = list(X)
    if not pictures:
        raise ValueError(f"X has 0 samples: no picture, {expected}")
    return pictures


def _dataset(
    pictures: list[Any], labels: NDArray[np.int64], names: list[str], image_size: int
) -> Dataset:
    if all(isinstance(picture, str | os.PathLike) for picture in pictures):
        return Dataset(pictures, labels, names, image_size=image_size)
    return Dataset.from_arrays(pictures, labels, names, image_size=image_size)
