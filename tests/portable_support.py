"""For the tests of exported C files: quantised models with random weights, their pictures, and
programs made of them."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import int8_oracle as int8
import networks
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core

HERE = Path(__file__).resolve().parent / "portable"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL: dict[str, Any] = {"base_e": 16, "incr_e": 16, "squeeze_ratio": 0.5}
STEP = 17  # what all weights of a compressed model are multiples of: -119 to 119, 15 values


def pictures_of(side: int, count: int = 3) -> np.ndarray:
    pictures = np.random.RandomState(side).randint(0, 256, (count, side, side, 3), np.uint8)
    pictures[0, : side // 2] = 255
    pictures[1] //= 4
    return pictures


def quantised(image_size: int, *, compressed: bool = False, **arguments: Any) -> sq.Model:
    """Its activations are clamped here and there; logits differ by a few units."""
    model = sq.Model(**arguments, image_size=image_size, mean=MEAN, std=STD)
    pictures = pictures_of(image_size)
    state = networks.weights(core.parameter_shapes(**model.spec))
    for key, values in state.items():  # more above 0 than below, so that no activation is all 0
        if values.ndim == 4 and not key.startswith("classifier"):
            values += np.float32(0.3 * values.std())
    seen = pictures[:, :64, :64]
    quantisation = int8.quantisation_of(state, model.spec, seen, MEAN, STD, clip=0.8)
    if compressed:
        compress(state, quantisation)
    model.load_state_dict(state)
    model.set_quantization(**quantisation)
    model.precision = "int8"
    logits = model.forward(pictures)
    model.divide_logits(float(np.ptp(logits, axis=1).max()) / 2)
    return model


def compress(state: dict[str, np.ndarray], quantisation: dict[str, np.ndarray]) -> None:
    """Rounds every whole weight to one of 15 values."""
    place = 0
    for key, weight in state.items():
        if weight.ndim != 4:
            continue
        scales = quantisation["weight_scales"][place : place + len(weight)]
        unit = scales.astype(np.float64)[:, None, None, None]
        place += len(weight)
        if key.startswith("features.0."):
            unit = unit * 255.0 * np.float32(STD).astype(np.float64)[None, :, None, None]
        whole = np.clip(np.rint(weight / unit / STEP) * STEP, -7 * STEP, 7 * STEP)
        state[key] = (whole * unit).astype(np.float32)


# -- Programs --------------------------------------------------------------------------------------


def need(*commands: str) -> None:
    for command in commands:
        if not shutil.which(command):
            pytest.skip(f"build: {command} is not installed")


def run(command: Sequence[str | Path], **options: Any) -> str:
    result = subprocess.run(command, capture_output=True, timeout=300, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout!r}\n{result.stderr.decode()}"
    return result.stdout.decode()


def build(folder: Path, model: sq.Model, command: Sequence[str], system: str = "hosted") -> Path:
    """The program of an exported model and portable/run.c, made by `command`."""
    need(command[0])
    model.export(folder / "eyes.c")
    sources = [folder / "eyes.c", HERE / "run.c", HERE / f"{system}.c"]
    run([*command, f"-I{folder}", *sources, "-o", folder / "program"])
    return folder / "program"


def check(model: sq.Model, command: Sequence[str | Path], maps: bool = False) -> None:
    """That the program prints the bits of the package's logits, and maps."""
    pictures = pictures_of(model.image_size)
    expected = model.forward(pictures)
    if maps:
        found = model.class_maps(pictures)
        expected = np.concatenate([expected, found.reshape(len(pictures), -1)], axis=1)
    assert len({bytes(row) for row in expected}) == len(pictures), "all pictures look alike"
    found = bits_of(run(command, input=pictures.tobytes()).splitlines())
    np.testing.assert_array_equal(found, expected.view(np.uint32))


def bits_of(lines: Sequence[str]) -> np.ndarray:
    """What run.c prints of each picture."""
    return np.array([[int(word, 16) for word in line.split()] for line in lines], np.uint32)
