"""The face of the package: a network, and all that can be done with one, in one place. Each method
is a function of the wings, where its arguments are described."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compression.compress import compress
from .compression.quantize import CALIBRATION_PICTURES, quantize
from .data.dataset import Dataset
from .files import export, native
from .inference import calibration, cam, predict
from .inference.evaluation import Evaluation
from .network import Network
from .reports import write
from .reports.findings import Report
from .summary import summary_table
from .training import loop
from .training.history import History
from .training.optimizer import Optimizer
from .training.recipe import Recipe


class Model(Network):
    __doc__ = Network.__doc__

    def summary(self, image_size: int | None = None) -> str:
        """A table of the layers, with output shapes, parameters and memory, for one picture of
        `image_size` (default: the model's own) pixels a side."""
        return summary_table(self, image_size or self.image_size)

    # -- Training ----------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """Where `train` takes its learning rates from when it is told nothing else."""
        return loop.default_recipe(self)

    def train(self, train: Dataset, valid: Dataset | None = None, **options: Any) -> History:
        """Train on one set and choose the best epoch on the other; see squeezenet_c.train."""
        return loop.train(self, train, valid, **options)

    def train_step(
        self,
        x: NDArray[np.float32] | NDArray[np.uint8],
        labels: ArrayLike,
        optimizer: Optimizer,
        *,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
    ) -> float:
        """One update; returns the batch's mean loss before it. The two calls it is made of are
        `compute_gradients(x, labels, ..., frozen=optimizer.frozen)` and `optimizer.step()`.
        ValueError: the optimizer is another model's."""
        optimizer.check_model(self)
        loss = self.compute_gradients(
            x,
            labels,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            frozen=optimizer.frozen,
        )
        optimizer.step()
        return loss

    # -- Answers, and how good they are ------------------------------------------------------------

    def predict(
        self, images: Any, batch_size: int = 32, **options: Any
    ) -> predict.Answer | list[predict.Answer]:
        """The Answer for a picture, or a list of them; see squeezenet_c.predict."""
        return predict.predict(self, images, batch_size, **options)

    def predict_proba(
        self, images: Any, batch_size: int = 32, **options: Any
    ) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of `images`; see squeezenet_c.predict_proba."""
        return predict.predict_proba(self, images, batch_size, **options)

    def features(self, images: Any, batch_size: int = 32, **options: Any) -> NDArray[np.float32]:
        """(N, C) float32 numbers that each picture is known by before it is classified; see
        squeezenet_c.features."""
        return predict.features(self, images, batch_size, **options)

    def evaluate(self, dataset: Dataset, batch_size: int = 32, **options: Any) -> Evaluation:
        """Accuracy, AUC and more on a labelled set; see squeezenet_c.evaluate."""
        return predict.evaluate(self, dataset, batch_size, **options)

    def choose_threshold(self, dataset: Dataset, **wanted: Any) -> float:
        """Set `threshold` to what tells the set apart best, or by a wanted sensitivity or
        specificity; see squeezenet_c.choose_threshold."""
        return predict.choose_threshold(self, dataset, **wanted)

    def calibrate(self, dataset: Dataset) -> float:
        """Make probabilities as high as answers are right, by one temperature in the last
        convolution; see squeezenet_c.calibrate."""
        return calibration.calibrate(self, dataset)

    def explain(
        self, image: Any, label: int | None = None, *, raw: bool = False
    ) -> cam.Explanation:
        """Where in a picture the answer comes from; see squeezenet_c.explain."""
        return cam.explain(self, image, label, raw=raw)

    def report(self, dataset: Dataset, folder: str | os.PathLike, **options: Any) -> Report:
        """Evaluate, and write a folder of figures, plots and one page; see squeezenet_c.report."""
        return write.report(self, dataset, folder, **options)

    # -- Smaller and faster ------------------------------------------------------------------------

    def quantize(self, data: Dataset, *, pictures: int = CALIBRATION_PICTURES) -> "Model":
        """A copy for int8, with scales from training pictures; see squeezenet_c.quantize."""
        return quantize(self, data, pictures=pictures)

    def compress(self, train: Dataset, valid: Dataset | None = None, **options: Any) -> "Model":
        """A copy for int8, trained further until its file is small; see squeezenet_c.compress."""
        return compress(self, train, valid, **options)

    # -- Files -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write the weights with spec, class names and preprocessing to a safetensors file; of a
        quantised model whole numbers and scales, a quarter of the size. What was at `path` stays
        until the new file is complete. OSError: it cannot be written."""
        native.save(self, path)

    def export(self, path: str | os.PathLike) -> None:
        """Write the model for other programs: .pth or .pt for PyTorch, .onnx with the preprocessing
        in it, .c or .html of a quantised model; see files.export.export."""
        export.export(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike, precision: str | None = None) -> "Model":
        """The model of a file: one of `save` or `export`, or torchvision's SqueezeNet, which is
        read with final_relu=True and ImageNet's preprocessing (fit="crop" too). It computes in
        `precision`; None: in what the file was made for, int8 where the model is quantised, else
        float32.

        `path` is a file or a run's folder, of which it is the best model. The file is safetensors,
        what torch.save wrote of a state_dict (or of a dict with one under "state_dict",
        "model_state_dict" or "model"), or Deep Compression's release of SqueezeNet (v1.0,
        final_relu=True, ImageNet's preprocessing for pictures of 227): its contents tell, not its
        name. Tensors are float32, float16 or bfloat16. PyTorch is not needed, and a file cannot run
        code.

        BadFileError (a ValueError) names the file, and the key, what was found and what was
        expected. OSError: it cannot be read. ValueError: "int8" of a model that is not quantised.
        """
        return native.load(cls, path, precision)

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        num_classes: int | None = None,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        *,
        image_size: int | None = None,
        mean: float | Sequence[float] | str | None = None,
        std: float | Sequence[float] | None = None,
        fit: str | None = None,
        dropout: float | None = None,
    ) -> "Model":
        """A model to train further, by default with Recipe.fine_tuning(). Where it is to be for
        other classes than the file's (another number, or other `class_names`, such as the training
        set's), the last convolution is a fresh one (of `seed`), final_relu is False, fit is "pad"
        (it is for other pictures, of which nothing is to be cut off), the class names are those
        given, and a UserWarning says so. Else it is what `load` gives: the same names in another
        order are the file's, in its order. Where the file has no names, or those given are only
        numbers, the number of classes alone is compared.

        image_size, mean, std, fit and dropout are Model's, in place of the file's; mean="imagenet"
        sets `std` too. ValueError: one of them is not what it should be, or num_classes is not the
        number of class_names."""
        given = {"image_size": image_size, "mean": mean, "std": std, "fit": fit, "dropout": dropout}
        changes = {name: value for name, value in given.items() if value is not None}
        return native.load_pretrained(cls, path, num_classes, seed, class_names, changes)
