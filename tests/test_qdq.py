"""`export eyes.onnx` of an int8 model: a QDQ graph that ONNX Runtime computes in integers, with the
package's answers on photographs."""

import functools
import json
import platform
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import portable_support
import pytest

import squeezenet_c as sq
from squeezenet_c.base.pictures import to_picture
from squeezenet_c.cli import main
from squeezenet_c.files.export import STEPS_TOLERANCE, verify
from squeezenet_c.files.quantised import whole_weights

NO_ONNX = "build: onnx is not installed"
NO_RUNTIME = "build: onnxruntime is not installed"
NAMES = ["普通", "病理性近视"]

MODELS: dict[str, dict[str, Any]] = {
    "1_0": {"version": "1_0", "class_names": NAMES},
    "1_1": {"class_names": NAMES, "compressed": True},
    "simple bypass": {"bypass": "simple", "num_classes": 3, **portable_support.SMALL},
    "final ReLU, odd channel counts": {
        **{"final_relu": True, "num_classes": 7, "fit": "crop"},
        **{"base_e": 45, "incr_e": 19, "squeeze_ratio": 0.11, "pct_3x3": 0.8},
    },
}


@functools.cache
def model_of(name: str) -> sq.Model:
    return portable_support.quantised(96, **MODELS[name])


@pytest.fixture
def photographs(palm_folder: Path) -> list[Path]:
    return sorted((palm_folder / "PALM-Validation400").rglob("*.jpg"))[:12]


def need_runtime() -> Any:
    """ONNX Runtime, on a CPU on which its sums of products of bytes do not saturate."""
    onnxruntime = pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    if platform.machine() == "x86_64" and not sq.build_info()["vnni"]:
        pytest.skip("hardware: without VNNI, ONNX Runtime's sums saturate")
    return onnxruntime


@pytest.mark.parametrize("name", MODELS)
def test_it_is_valid(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    model = model_of(name)
    model.export(tmp_path / "eyes.onnx")
    loaded = onnx.load(tmp_path / "eyes.onnx")
    onnx.checker.check_model(loaded, full_check=True)
    arrays = {part.name: onnx.numpy_helper.to_array(part) for part in loaded.graph.initializer}
    for key, whole in whole_weights(model).items():
        layer = key.removesuffix(".weight")
        assert arrays[f"{key}.steps"].dtype == np.int8
        assert np.array_equal(arrays[f"{key}.steps"], whole)
        assert arrays[f"{layer}.bias.steps"].dtype == np.int32
        for part in ("scale", "bias.steps"):
            assert arrays[f"{layer}.{part}"].shape == (len(whole),)
    zero = arrays["zero"]
    assert zero.dtype == np.uint8 and zero.shape == () and zero == 0
    quantising = [node for node in loaded.graph.node if node.op_type == "QuantizeLinear"]
    assert quantising and all(node.input[2] == "zero" for node in quantising)
    metadata = {pair.key: json.loads(pair.value) for pair in loaded.metadata_props}
    assert metadata["class_names"] == (list(model.class_names) if model.class_names else None)
    assert metadata["spec"] == model.spec
    assert metadata["preprocessing"] == model.preprocessing.to_dict()


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_has_the_same_answers(
    tmp_path: Path, name: str, photographs: list[Path]
) -> None:
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    onnxruntime = need_runtime()
    model = model_of(name)
    model.export(tmp_path / "eyes.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(tmp_path / "eyes.onnx", options, providers)
    nodes = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert nodes["QLinearConv"] == 25, "all but the last one in integers"
    assert not nodes["QuantizeLinear"]
    assert nodes["QLinearAdd"] == (4 if model.spec["bypass"] else 0)
    pictures = np.stack([model.preprocessing.square(to_picture(path)) for path in photographs])
    probabilities, logits = session.run(None, {"pictures": pictures})
    ours = model.forward(pictures)
    assert len({bytes(row) for row in ours}) == len(pictures), "all photographs look alike"
    assert np.abs(logits - ours).max() < 1e-6 * np.abs(ours).max()  # all bytes before are equal
    assert np.array_equal(logits.argmax(1), ours.argmax(1))
    assert np.abs(probabilities - model.predict_proba(pictures)).max() < 1e-6
    assert verify(model, tmp_path / "eyes.onnx", photographs) < 0.1


def test_verify_says_steps(
    tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    need_runtime()
    model, out = model_of("1_1"), str(tmp_path / "eyes.onnx")
    model.save(tmp_path / "int8.safetensors")
    pictures = [str(path) for path in photographs[:2]]
    command = ["export", str(tmp_path / "int8.safetensors"), out, "--verify", *pictures]
    assert main(command) == 0
    said = r"Largest difference of logits over 2 pictures: (\S+) steps of the last .* sums\n"
    found = re.search(said, capsys.readouterr().out)
    assert found and float(found[1]) < 0.1


def test_verify_sees_another_model(tmp_path: Path, photographs: list[Path]) -> None:
    """Whose last bias is larger by what two steps are worth."""
    need_runtime()
    model = model_of("1_1")
    model.export(tmp_path / "eyes.onnx")
    state, quantization = model.state_dict(), model.quantization
    assert quantization is not None
    last = len(quantization["activation_scales"]) - 3  # the input of the last convolution
    unit = quantization["weight_scales"][-1] * quantization["activation_scales"][last]
    state["classifier.1.bias"][-1] += 2 * unit
    other = model.copy()
    other.load_state_dict(state)
    other.set_quantization(**quantization)
    other.precision = "int8"
    assert verify(model, tmp_path / "eyes.onnx", photographs[:1]) < STEPS_TOLERANCE
    assert verify(other, tmp_path / "eyes.onnx", photographs[:1]) > STEPS_TOLERANCE


def test_a_model_of_float32_precision_goes_as_floats(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    model = model_of("1_1").copy()
    model.precision = "float32"
    model.export(tmp_path / "eyes.onnx")
    loaded = onnx.load(tmp_path / "eyes.onnx")
    assert not [node for node in loaded.graph.node if "Quantize" in node.op_type]
