"""What a network is and computes: a network of the compiled part with its preprocessing and class
names. It is the base of Model, and all that data, inference, training, files and reports know of
one."""

import math
import operator
import sys
import warnings
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._native import core
from .preprocessing import Preprocessing

AnyNetwork = TypeVar("AnyNetwork", bound="Network")
"""Network, or the kind of Network that the caller has, such as Model."""

SPEC_KEYS = set(core.SPEC_FIELDS)
"""The arguments that say what is computed, as they stand in files."""

COPY_CHANGES = {"dropout", "image_size", "mean", "std", "fit"}
"""The arguments that no weight depends on, which a copy may have others of."""

_VERSIONS = {"1_0": "1_0", "1.0": "1_0", "1_1": "1_1", "1.1": "1_1"}

HEAD_WEIGHT, HEAD_BIAS = "classifier.1.weight", "classifier.1.bias"
"""The parameters of the last convolution, of which the logits are the means."""

_PRECISION: Any = core.Network.precision  # the descriptor, which the property below wraps


def are_numbers(class_names: Sequence[str]) -> bool:
    """Whether classes are called by their numbers, 0, 1 and so on, and so have no names."""
    return list(class_names) == [str(label) for label in range(len(class_names))]


def level_outside() -> int:
    """The `stacklevel` at which a warning of our caller names the line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    return level


class Network(core.Network):
    """SqueezeNet 1.0 or 1.1 with fresh weights, which are a function of the spec and `seed`.

    version         "1_0" or "1_1"
    num_classes     outputs
    final_relu      ReLU after the last convolution, as in the tutorial and torchvision
    dropout         probability before the last convolution, while training
    bypass          None, "simple" or "complex" (the paper's section 6)
    squeeze_ratio, pct_3x3, base_e, incr_e, freq    the paper's metaparameters (section 5.1)
    precision       "float32", "bfloat16" or, once it is quantised, "int8"; see the property
    class_names     one name a class; None: taken from the training data by `train`
    positive        of two classes the positive one, by name or number, see the property
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
        positive: str | int | None = None,
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
        self._positive = 1 if num_classes == 2 else None
        if positive is not None:
            self.positive = positive
        self.precision = precision
        self.pretrained = False
        """Whether its weights have learnt before, so that `train` treats them gently by default.
        `from_pretrained` sets it; it is not saved with the model."""
        self.trained_on: tuple[str, ...] = ()
        """The marks of pictures that it has learnt from (data/marks.py), saved with it."""
        self.provenance: dict[str, Any] = {}
        """Where its weights come from (data/provenance.py): of the last training its pictures'
        hash, seed, versions and machine; saved with it, for people to read."""
        self.temperature = 1.0
        """What the logits of its training have been divided by since, see `divide_logits`. It is in
        the weights; the number is saved with them only to be known."""
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

        "int8" is for inference by a model that `quantize` made, or that was loaded from such a
        one's file: bytes for activations and weights, the same bits on every machine. It takes the
        pictures' bytes, see `input_of`.

        bfloat16 needs oneDNN and a CPU with AVX-512. Elsewhere (`build_info()["bfloat16"]` and
        "bfloat16_reason") asking for it gives a warning, and the model stays at float32; with the
        environment's SQZ_BF16=emulate it gives bfloat16's results on any CPU, no faster. Where
        `set_backend` chooses a backend without it, the next pass gives that warning and sets
        "float32".
        ValueError: another word, or "int8" of a model that is not quantised.
        """
        return _PRECISION.__get__(self)

    @precision.setter
    def precision(self, precision: str) -> None:
        try:
            _PRECISION.__set__(self, precision)
        except RuntimeError as error:
            _PRECISION.__set__(self, "float32")
            warnings.warn(f"{error}; float32 is used", stacklevel=level_outside())

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
            for name in names:
                try:
                    name.encode("utf-8")
                except UnicodeEncodeError:  # as of a folder's name in another encoding
                    raise ValueError(
                        f"the class name {name!a} is no text that UTF-8 can write"
                    ) from None
        self._class_names = names

    @property
    def positive(self) -> int | None:
        """The number of the positive class, which sensitivity, specificity, the threshold and a
        report are about: of two classes class 1, or what it was set to, by number or by name; None
        where there are not two. It is saved with the model. Setting another one drops the
        threshold, which was for the former. ValueError: no such class, or not two."""
        return self._positive

    @positive.setter
    def positive(self, positive: str | int) -> None:
        if self.num_classes != 2:
            raise ValueError(f"a positive class of {self.num_classes} classes, expected two")
        names = self._class_names or ()
        if isinstance(positive, str) and positive in names:
            positive = names.index(positive)
        whole = isinstance(positive, int | np.integer) and not isinstance(positive, bool)
        if not whole or positive not in (0, 1):
            expected = f"{names[0]!r}, {names[1]!r}, 0 or 1" if names else "0 or 1"
            raise ValueError(f"positive is {positive!r}, expected {expected}")
        if positive != self._positive:
            self._threshold = None
        self._positive = int(positive)

    @property
    def threshold(self) -> float | None:
        """The probability of the positive class from which on it is the answer; None: the more
        probable class is. It is saved with the model. ValueError: not between 0 and 1, or not two
        classes."""
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

    def divide_logits(self, temperature: float) -> None:
        """Divide the last convolution's weights and bias by `temperature`, and so all logits, with
        final_relu too: the network is then less sure of every answer where it is above 1, and surer
        below. Answers stay the same, for a threshold p becomes sigmoid(logit(p) / temperature), or
        the nearest number between 0 and 1 where rounding gives one of these. A quantised network
        stays one: its last weights are as many steps of scales that are divided.
        ValueError: no finite number above 0, or one so small that a weight is no float32."""
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature is {temperature!r}, expected a finite number above 0")
        state = self.state_dict()
        for name in (HEAD_WEIGHT, HEAD_BIAS):
            divided = state[name].astype(np.float64) / temperature
            if np.abs(divided).max() > np.finfo(np.float32).max:
                raise ValueError(f"temperature is {temperature!r}: {name} would leave float32")
            state[name] = divided.astype(np.float32)
        quantization = self.quantization
        self.load_state_dict(state)
        if quantization is not None:
            last = quantization["weight_scales"][-self.num_classes :]
            last[:] = last.astype(np.float64) / temperature
            self.set_quantization(**quantization)
        self.temperature *= float(temperature)
        if self._threshold is not None:
            logit = math.log(self._threshold) - math.log1p(-self._threshold)
            moved = 0.5 + 0.5 * math.tanh(logit / temperature / 2)  # the sigmoid
            # Where rounding gives 0 or 1, the nearest number that is a threshold.
            self._threshold = min(max(moved, math.nextafter(0, 1)), math.nextafter(1, 0))

    def name_of(self, label: int) -> str:
        """The class's name; its number where the model has no names."""
        return self._class_names[label] if self._class_names else str(label)

    def __repr__(self) -> str:
        extras = "".join(
            f", {key}={value!r}"
            for key, value in self.spec.items()
            if key in ("final_relu", "bypass") and value
        )
        return f"{type(self).__name__}({self.version!r}, num_classes={self.num_classes}{extras})"

    # -- What it computes --------------------------------------------------------------------------

    def input_of(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """What `forward` and `class_maps` take of (N, H, W, 3) uint8 pictures in the precision that
        is set: the bytes themselves in int8, which has the normalisation in its first layer, else
        (N, 3, H, W) float32, normalised."""
        return pictures if self.precision == "int8" else self.preprocessing.normalise(pictures)

    def compute_gradients(
        self,
        x: NDArray[np.float32] | NDArray[np.uint8],
        labels: ArrayLike,
        global_batch: int | None = None,
        first_index: int = 0,
        step: int | None = None,
        seed: int | None = None,
        *,
        indices: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
        total_weight: float = 0.0,
        frozen: Collection[str] | None = None,
        temperature: float = 1.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        changes: NDArray[np.int32] | None = None,
    ) -> float:
        """The mean loss of a batch; its gradients are then in `gradients`.

        x: (N, 3, H, W) float32, normalised; or (N, H, W, 3) uint8, of which each picture is changed
        as `changes` (see Augment.changes) say, if they are given, and normalised, by `mean` and
        `std` (default: the model's), in the thread that works on it: the same bits. labels: N whole
        numbers from 0, or (N, classes) probabilities, each row at least 0 and 1 in all (within
        1e-4). The mean is over `global_batch` pictures (default N), of which these are
        `first_index` and following, or those at `indices`, N places that ascend. Dropout depends on
        `seed` (default: the model's), `step` (default: the updates its optimizer has done) and the
        picture's place in the global batch, so a batch in parts is the batch: to the bit where each
        part has the pictures of a subtree of the sum, as csrc/README.md has it, and parts are added
        by that tree.

        The loss is torch.nn.functional.cross_entropy's: `label_smoothing`, 0 to 1, spreads that
        share of the target evenly over the classes; `class_weights`, one number above 0 a class,
        weigh the pictures, and the mean then divides by the sum of the labels' weights. Of a batch
        in parts that sum must be given as `total_weight`. Probabilities are weighed class by class,
        and their mean is over pictures. With a `temperature` T above 0 the loss is that of the
        logits divided by T, times T * T, which keeps its gradient as large (Hinton et al. 2015,
        arXiv:1503.02531, section 2.1). Parameters whose names are in `frozen`
        get no gradient (theirs becomes 0), and the pass does not go back further than those that do
        need. ValueError names what does not fit.
        """
        step = self.step if step is None else step
        seed = self.seed if seed is None else seed
        if first_index:
            if indices is not None:
                raise ValueError("first_index and indices are both given, expected one of them")
            indices = operator.index(first_index) + np.arange(len(x))
        if isinstance(x, np.ndarray) and x.dtype == np.uint8:
            mean = self.preprocessing.mean if mean is None else mean
            std = self.preprocessing.std if std is None else std
        return super().compute_gradients(
            x,
            labels,
            global_batch=global_batch,
            indices=indices,
            step=step,
            seed=seed,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            total_weight=total_weight,
            frozen=frozen,
            temperature=temperature,
            mean=mean,
            std=std,
            changes=changes,
        )

    def copy(self: AnyNetwork, **changes: Any) -> AnyNetwork:
        """An independent network with the same weights, and quantised as this one is. `changes`:
        dropout, image_size, mean, std or fit, where it is to have another. TypeError: others, which
        the weights depend on or which can be set."""
        wrong = changes.keys() - COPY_CHANGES
        if wrong:
            raise TypeError(f"copy() changes {', '.join(sorted(COPY_CHANGES))}, not {min(wrong)}")
        remake, (kind, arguments, *rest) = self.__reduce__()
        return remake(kind, arguments | changes, *rest)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle keeps, and `copy` copies."""
        arguments = {
            **self.spec,
            "seed": self.seed,
            "class_names": self.class_names,
            "positive": self.positive,
            **self.preprocessing.to_dict(),
        }
        names = ("precision", "threshold", "temperature", "pretrained", "trained_on", "provenance")
        besides = {name: getattr(self, name) for name in names}
        return _remade, (type(self), arguments, self.state_dict(), self.quantization, besides)


def _remade(
    kind: type[AnyNetwork],
    arguments: dict[str, Any],
    weights: dict[str, NDArray[np.float32]],
    quantization: dict[str, Any] | None,
    besides: dict[str, Any],
) -> AnyNetwork:
    """The network of these parts, see Network.__reduce__."""
    network = kind(**arguments)
    network.load_state_dict(weights)
    if quantization is not None:
        network.set_quantization(**quantization)
    for name, value in besides.items():
        setattr(network, name, value)
    return network
