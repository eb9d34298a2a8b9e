"""The model: a network of the compiled part, with its spec, preprocessing and class names."""

import os
import sys
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import model_file
from ._native import core
from .optimizer import Adam
from .preprocessing import Preprocessing
from .recipe import Recipe

_VERSIONS = {"1_0": "1_0", "1.0": "1_0", "1_1": "1_1", "1.1": "1_1"}


def _level_outside() -> int:
    """The `stacklevel` at which a warning of our caller names the line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    return level


class Model(core.Network):
    """SqueezeNet 1.0 or 1.1 with fresh weights, which are a function of the spec and `seed`.

    version         "1_0" or "1_1"
    num_classes     outputs
    final_relu      ReLU after the last convolution, as in the tutorial and torchvision
    dropout         probability before the last convolution, while training
    bypass          None, "simple" or "complex" (the paper's section 6)
    squeeze_ratio, pct_3x3, base_e, incr_e, freq    the paper's metaparameters (section 5.1)
    precision       "float32" or "bfloat16", see the property
    class_names     one name a class; None: taken from the training data by `train`
    image_size, mean, std, fit      see Preprocessing; mean="imagenet" sets `std` too

    ValueError names the argument that is not what it should be.
    """

    def __init__(
        self,
        version: str = "1_1",
        num_classes: int = 2,
        *,
        seed: int = 0,
        final_relu: bool = False,
        dropout: float = 0.5,
        bypass: str | None = None,
        squeeze_ratio: float = 0.125,
        pct_3x3: float = 0.5,
        base_e: int = 128,
        incr_e: int = 128,
        freq: int = 2,
        precision: str = "float32",
        class_names: Sequence[str] | None = None,
        image_size: int = 224,
        mean: float | Sequence[float] | str = 0.5,
        std: float | Sequence[float] = 0.5,
        fit: str = "pad",
    ):
        spec = {name: value for name, value in locals().items() if name in core.SPEC_FIELDS}
        if version not in _VERSIONS:
            raise ValueError(f'version is {version!r}, expected "1_0" or "1_1"')
        spec["version"] = _VERSIONS[version]
        self._preprocessing = Preprocessing(image_size, mean, std, fit)
        super().__init__(seed=seed, **spec)
        self._class_names: tuple[str, ...] | None = None
        self.class_names = class_names
        self._threshold: float | None = None
        self.precision = precision
        self.recipe = Recipe()
        """Where `train` takes its learning rates from when it is told nothing else; of a model of
        `from_pretrained`, Recipe.fine_tuning(). It is not saved with the model."""
        self.step = 0
        """Updates done: with the seed and a picture's place in the batch, what dropout depends on.
        Adam counts it."""

    # -- What it is --------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self.spec["version"]

    @property
    def num_classes(self) -> int:
        return self.spec["num_classes"]

    @property
    def preprocessing(self) -> Preprocessing:
        return self._preprocessing

    @property
    def image_size(self) -> int:
        return self._preprocessing.image_size

    @property
    def precision(self) -> str:
        """What passes compute in: "float32", or "bfloat16", which stores activations and multiplies
        weights in half the bytes. Weights, their gradients and their updates, sums, logits and
        losses are float32 in both. It may be set at any time and is not saved with the model.

        bfloat16 needs oneDNN and a CPU with AVX-512. Elsewhere (`build_info()["bfloat16"]` and
        "bfloat16_reason") asking for it gives a warning, and the model stays at float32; with the
        environment's SQZ_BF16=emulate it gives bfloat16's results on any CPU, no faster. Where
        `set_backend` chooses a backend without it, the next pass gives that warning and sets
        "float32".
        ValueError: another word.
        """
        return core.Network.precision.__get__(self)

    @precision.setter
    def precision(self, precision: str) -> None:
        try:
            core.Network.precision.__set__(self, precision)
        except RuntimeError as error:
            core.Network.precision.__set__(self, "float32")
            warnings.warn(f"{error}; float32 is used", stacklevel=_level_outside())

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One name a class, or None."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        if names is not None:
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"class_names is {names!r}, expected a sequence of strings")
            if len(names) != self.num_classes:
                raise ValueError(
                    f"{len(names)} class names, expected one for each of {self.num_classes} classes"
                )
            names = tuple(names)
        self._class_names = names

    @property
    def threshold(self) -> float | None:
        """The probability of class 1 from which on it is the answer; None: the more probable class
        is. It is saved with the model. ValueError: not between 0 and 1, or not two classes."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | None) -> None:
        if threshold is not None:
            if isinstance(threshold, bool) or not isinstance(threshold, int | float):
                raise ValueError(f"threshold is {threshold!r}, expected a number or None")
            if not 0 < threshold < 1:
                raise ValueError(f"threshold is {threshold!r}, expected more than 0, less than 1")
            if self.num_classes != 2:
                raise ValueError(f"a threshold for {self.num_classes} classes, expected two")
            threshold = float(threshold)
        self._threshold = threshold

    def name_of(self, label: int) -> str:
        """The class's name; its number where the model has no names."""
        return self._class_names[label] if self._class_names else str(label)

    def __repr__(self) -> str:
        extras = "".join(
            f", {key}={value!r}"
            for key, value in self.spec.items()
            if key in ("final_relu", "bypass") and value
        )
        return f"Model({self.version!r}, num_classes={self.num_classes}{extras})"

    def summary(self, image_size: int | None = None) -> str:
        """A table of the layers, with output shapes, parameters and memory, for one picture of
        `image_size` (default: the model's own) pixels a side."""
        from .summary import summary_table

        return summary_table(self, image_size or self.image_size)

    # -- Training and prediction -------------------------------------------------------------------

    def compute_gradients(
        self,
        x: NDArray[np.float32],
        labels: ArrayLike,
        global_batch: int | None = None,
        first_index: int = 0,
        step: int | None = None,
        seed: int | None = None,
        *,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
        total_weight: float = 0.0,
        frozen: Collection[str] | None = None,
    ) -> float:
        """The mean loss of a batch; its gradients are then in `gradients`.

        x: (N, 3, H, W) float32, normalised. labels: N whole numbers from 0. The mean is over
        `global_batch` pictures (default N), of which these are `first_index` and following.
        Dropout depends on `seed` (default: the model's), `step` (default: the updates its optimizer
        has done) and the picture's place in the global batch, so a batch in parts is the batch.

        The loss is torch.nn.functional.cross_entropy's: `label_smoothing`, 0 to 1, spreads that
        share of the target evenly over the classes; `class_weights`, one number above 0 a class,
        weigh the pictures, and the mean then divides by the sum of the labels' weights. Of a batch
        in parts that sum must be given as `total_weight`. Parameters whose names are in `frozen`
        get no gradient (theirs becomes 0), and the pass does not go back further than those that do
        need. ValueError names what does not fit.
        """
        step = self.step if step is None else step
        seed = self.seed if seed is None else seed
        return super().compute_gradients(
            x,
            labels,
            global_batch,
            first_index,
            step,
            seed,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            total_weight=total_weight,
            frozen=frozen,
        )

    def train_step(
        self,
        x: NDArray[np.float32],
        labels: ArrayLike,
        optimizer: Adam,
        *,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
    ) -> float:
        """One update; returns the batch's mean loss before it. The two calls it is made of are
        `compute_gradients(x, labels, ..., frozen=optimizer.frozen)` and `optimizer.step()`."""
        loss = self.compute_gradients(
            x,
            labels,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            frozen=optimizer.frozen,
        )
        optimizer.step()
        return loss

    def predict_proba(self, images: Any, batch_size: int = 32) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of `images`; see prediction.predict_proba."""
        from .prediction import predict_proba

        return predict_proba(self, images, batch_size)

    # -- Files -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write the weights with spec, class names and preprocessing to a safetensors file. What
        was at `path` stays until the new file is complete. OSError: it cannot be written."""
        model_file.save(self, path)

    def export(self, path: str | os.PathLike) -> None:
        """Write the model for other programs: .pth or .pt for PyTorch, .onnx with the preprocessing
        in it; see exporting.export."""
        from .exporting import export

        export(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike, precision: str = "float32") -> "Model":
        """The model of a file: one of `save` or `export`, or torchvision's SqueezeNet, which is
        read with final_relu=True and ImageNet's preprocessing (fit="crop" too). It computes in
        `precision`.

        The file is safetensors, or what torch.save wrote of a state_dict (or of a dict with one
        under "state_dict", "model_state_dict" or "model"): its contents tell, not its name.
        Tensors are float32, float16 or bfloat16. PyTorch is not needed, and a file cannot run code.

        BadFileError (a ValueError) names the file, and the key, what was found and what was
        expected. OSError: it cannot be read.
        """
        return model_file.load(cls, path, precision)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike, num_classes: int | None = None, seed: int = 0
    ) -> "Model":
        """A model to train further, by default with Recipe.fine_tuning(). Where `num_classes` is
        given and differs from the file's, the last convolution is a fresh one (of `seed`),
        final_relu is False, fit is "pad" (it is for other pictures, of which nothing is to be cut
        off), there are no class names, and a UserWarning says so; else it is what `load` gives."""
        return model_file.load_pretrained(cls, path, num_classes, seed)

    def copy(self) -> "Model":
        """An independent model with the same weights."""
        twin = type(self)(
            **self.spec,
            seed=self.seed,
            precision=self.precision,
            class_names=self.class_names,
            **self.preprocessing.to_dict(),
        )
        twin.load_state_dict(self.state_dict())
        twin.threshold = self.threshold
        twin.recipe = self.recipe
        return twin
