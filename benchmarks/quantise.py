"""What the int8 rows are measured on: our models, and each peer's made from the same float32 model
by its own tool on the same pictures. Each function takes a peers.Job, in a process of its own.

Two models of each version: the one that is timed, which the other rows time too, and the one whose
answers are judged, on other pictures than it is calibrated on. Where ../shared has them, that is
ImageNet's weights and its sample photographs, and all are calibrated on these photographs mirrored
and turned, and on some of PALM; else the weights that are timed, and drawn pictures. No model has a
ReLU after its last convolution. The peers' take the values of bytes, as ours does: mean and std are
in the first convolution's weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers import CALIBRATION, JUDGED, PICTURE_SIDE, Job, as_floats
from photograph import SHARED

import squeezenet_c as sq
from squeezenet_c._native import core

FROM_PALM = 16  # pictures to calibrate on


def ours(job: Job) -> dict[str, Any]:
    """Writes our float32 and int8 models, which are to be there before the peers', and pictures."""
    imagenet = SHARED / "pretrained" / f"squeezenet{job.arch}-imagenet.safetensors"
    real = imagenet.is_file()
    calibration, judged = _photographs() if real else _drawn()
    np.save(Path(job.folder, CALIBRATION), calibration)
    np.save(Path(job.folder, JUDGED), judged)
    if real and job.subject == "judged":
        model = sq.Model(job.arch, 1000, mean="imagenet")
        model.load_state_dict(sq.Model.load(imagenet).state_dict())
    else:
        model = sq.Model(job.arch)
        model.load_state_dict(job.weights())
    model.save(job.file("float32.safetensors"))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.png") for number in range(len(calibration))]
        for path, picture in zip(paths, calibration, strict=True):
            path.write_bytes(sq.synthetic.encode_png(picture))
        pictures = sq.Dataset(paths, np.arange(len(paths)) % 2)
        sq.quantize(model, pictures).save(job.file("int8.safetensors"))
    return {"pictures": "photographs" if real else "drawn", "calibrated_on": len(calibration)}


def onnx_runtime(job: Job) -> dict[str, Any]:
    """Its own quantisation: QDQ, a scale an output channel, uint8 activations, int8 weights."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.pictures = iter(_calibration(job))

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.pictures, None)
            return None if picture is None else {"x": picture}

    quantization.quantize_static(
        _onnx_file(job),
        job.file("qdq.onnx"),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return {}


def open_vino(job: Job) -> dict[str, Any]:
    """NNCF's quantisation; of activations their largest values on all pictures, as the others have
    it: by default it takes a mean over the pictures, by which ImageNet's answers change more."""
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = openvino.Core().read_model(_onnx_file(job))
    ranges = AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )
    pictures = nncf.Dataset(_calibration(job))
    quantised = nncf.quantize(model, pictures, advanced_parameters=ranges)
    openvino.save_model(quantised, job.file("nncf.xml"), compress_to_fp16=False)
    return {}


def _onnx_file(job: Job) -> Path:
    """Our float32 model as ONNX, of floats from 0 to 255."""
    from peers import onnx_model

    model = sq.Model.load(job.file("float32.safetensors"))
    path = job.file("float32.onnx")
    path.write_bytes(onnx_model.encode(job.arch, _of_bytes(model)))
    return path


def _calibration(job: Job) -> list[np.ndarray]:
    """Inputs of the ONNX model, one picture each."""
    return [as_floats(picture[None]) for picture in np.load(Path(job.folder, CALIBRATION))]


def _of_bytes(model: sq.Model) -> dict[str, np.ndarray]:
    """The weights for bytes instead of (byte / 255 - mean) / std."""
    weights = model.state_dict()
    first, bias = (weights[f"features.0.{name}"].astype(np.float64) for name in ("weight", "bias"))
    mean, std = (
        np.array(values)[:, None, None]
        for values in (model.preprocessing.mean, model.preprocessing.std)
    )
    weights["features.0.weight"] = (first / (255 * std)).astype(np.float32)
    weights["features.0.bias"] = (bias - (first * mean / std).sum((1, 2, 3))).astype(np.float32)
    return weights


def _photographs() -> tuple[np.ndarray, np.ndarray]:
    """Pictures to calibrate on, and to judge by."""

    def fitted(paths: list[Path], fit: str) -> list[np.ndarray]:
        return [core.fit_image(core.read_image(path), PICTURE_SIDE, fit) for path in paths]

    judged = fitted(sorted(SHARED.glob("imagenet_samples/*.jpg")), "crop")
    views = [view for one in judged for view in (one[:, ::-1], one[::-1], one.swapaxes(0, 1))]
    palm = sorted(SHARED.glob("palm/PALM-Training400/PALM-Training400/*.jpg"))
    views += fitted(palm[:: max(1, len(palm) // FROM_PALM)][:FROM_PALM], "pad")
    return np.stack(views), np.stack(judged)


def _drawn() -> tuple[np.ndarray, np.ndarray]:
    drawn = np.stack([sq.synthetic.draw(number % 2, number, PICTURE_SIDE) for number in range(18)])
    return drawn[:16], drawn[16:]
