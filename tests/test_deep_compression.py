"""Deep Compression's own file: the release and what it was decoded to, files written here by the
form's description, and every way in which one can lie."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.files.deep_compression import is_deep_compression

SMALL = {"version": "1_1", "num_classes": 3, "base_e": 16, "incr_e": 16}
RELEASE = {"version": "1_0", "num_classes": 1000}
COUNTS_BYTES = 26 * 4


# -- Written ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolution:
    """A convolution as the file has it; `count` None: the number of codes."""

    codebook: np.ndarray
    biases: np.ndarray
    codes: list[int]
    runs: list[int]
    count: int | None = None

    def pack(self) -> bytes:
        pairs = [*self.runs, 0][: len(self.runs) + len(self.runs) % 2]
        nibbles = bytes(low | high << 4 for low, high in zip(pairs[::2], pairs[1::2], strict=True))
        floats = self.codebook.astype("<f4").tobytes() + self.biases.astype("<f4").tobytes()
        return floats + bytes(self.codes) + nibbles


def encoded(dense: np.ndarray, codebook: np.ndarray, biases: np.ndarray) -> Convolution:
    """Of the number of each weight's value; where a run of zeros is longer than 15, a 0 is one of
    the codes."""
    codes, runs, after = [], [], 0
    for index in np.flatnonzero(dense):
        while index - after > 15:
            codes.append(0)
            runs.append(15)
            after += 16
        codes.append(int(dense[index]))
        runs.append(int(index) - after)
        after = index + 1
    return Convolution(codebook, biases, codes, runs)


def packed(convolutions: list[Convolution]) -> bytes:
    counts = [len(c.codes) if c.count is None else c.count for c in convolutions]
    return np.array(counts, "<u4").tobytes() + b"".join(c.pack() for c in convolutions)


def some_convolutions(spec: dict, density: float) -> tuple[list[Convolution], dict]:
    """A network's, and the tensors that they stand for. The first and the last weight are coded."""
    rng, convolutions, state = np.random.default_rng(1), [], {}
    shapes = core.parameter_shapes(**spec)
    for key in (key for key in shapes if key.endswith(".weight")):
        bias_key = key.removesuffix("weight") + "bias"
        size = np.prod(shapes[key])
        dense = rng.integers(1, 256, size) * (rng.random(size) < density)
        dense[[0, -1]] = 1, 255
        codebook = np.append(0, rng.normal(size=255)).astype(np.float32)
        biases = rng.normal(size=shapes[bias_key]).astype(np.float32)
        convolutions.append(encoded(dense, codebook, biases))
        state[key], state[bias_key] = codebook[dense].reshape(shapes[key]), biases
    return convolutions, state


@pytest.fixture(scope="module")
def convolutions() -> list[Convolution]:
    """Of the release's network, nearly all zeros."""
    return some_convolutions(RELEASE, 0.001)[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.net"


@pytest.fixture
def refuses(path: Path) -> Callable[[bytes, str], None]:
    """Checks that Model.load refuses the contents with words that match, after the file's name."""

    def check(contents: bytes, words: str) -> None:
        path.write_bytes(contents)
        with pytest.raises(sq.BadFileError, match=words) as raised:
            sq.Model.load(path)
        assert str(raised.value).startswith(f"{path}: ") and len(str(raised.value)) < 400

    return check


Refuses = Callable[[bytes, str], None]


# -- Good files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.0, 0.05, 0.9])
def test_what_is_written_is_read(path: Path, density: float) -> None:
    convolutions, state = some_convolutions(SMALL, density)
    assert len({len(c.codes) % 2 for c in convolutions}) == 2 or density == 0
    path.write_bytes(packed(convolutions))
    read = core.read_deep_compression(path, **SMALL)
    assert list(read) == list(state)
    assert all(np.array_equal(read[key], state[key]) for key in state)


def test_first_convolution_takes_normalised_rgb(
    convolutions: list[Convolution], path: Path
) -> None:
    """What Caffe's own convolution makes of a patch of its B, G, R, the model's makes of the same
    patch as our preprocessing hands it on."""
    path.write_bytes(packed(convolutions))
    caffe, model = core.read_deep_compression(path, **RELEASE), sq.Model.load(path)
    patch = np.random.default_rng(2).integers(0, 256, (1, 7, 7, 3), dtype=np.uint8)
    bgr = patch[0, ..., ::-1].astype(np.float64) - (104, 117, 123)
    ours = model.preprocessing.normalise(patch)[0].astype(np.float64)
    key, state = "features.0", model.state_dict()
    expected = np.einsum("ochw,hwc->o", caffe[f"{key}.weight"], bgr) + caffe[f"{key}.bias"]
    found = np.einsum("ochw,chw->o", state[f"{key}.weight"], ours) + state[f"{key}.bias"]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert all(np.array_equal(state[k], caffe[k]) for k in state if not k.startswith(key))


def test_told_by_contents(convolutions: list[Convolution], tmp_path: Path) -> None:
    """Whatever the name, and though the first count, 640, begins as a pickle does."""
    first = encoded(np.full(640, 7), convolutions[0].codebook, convolutions[0].biases)
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed([first, *convolutions[1:]]))
    assert path.read_bytes().startswith(b"\x80\x02")
    model = sq.Model.load(path)
    assert (model.version, model.num_classes, model.class_names) == ("1_0", 1000, None)
    assert model.spec["final_relu"]
    assert model.preprocessing == sq.Preprocessing(image_size=227, mean="imagenet", fit="crop")
    with pytest.warns(UserWarning, match="for 1000 classes, is replaced by a fresh one for 2"):
        tuned = sq.Model.from_pretrained(path, 2)
    assert tuned.preprocessing.fit == "pad" and not tuned.spec["final_relu"]
    model.save(tmp_path / "b.safetensors")
    again = sq.Model.load(tmp_path / "b.safetensors").state_dict()
    assert all(np.array_equal(values, again[key]) for key, values in model.state_dict().items())


def test_other_files_are_not_taken_for_it(tmp_path: Path) -> None:
    model = sq.Model("1_1", num_classes=2)
    for name in ("a.safetensors", "a.pth"):
        model.export(tmp_path / name)
        assert not is_deep_compression(tmp_path / name)
    for contents in (b"", b"\1", b"\1\0\0\0" * 25, b"x" * 1000, bytes(1000)):
        (tmp_path / "b").write_bytes(contents)
        assert not is_deep_compression(tmp_path / "b")


# -- The release -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(shared: Path) -> Path:
    return shared / "pretrained" / "compressed_SqueezeNet.net"


@pytest.fixture(scope="module")
def decoded(shared: Path) -> Path:
    """What others decoded it to: Caffe's input folded, weights rounded to float16."""
    return shared / "pretrained" / "squeezenet1_0-imagenet.safetensors"


def test_release_has_the_decoded_weights(release: Path, decoded: Path) -> None:
    """Every weight of the file, rounded to float16, and every bias as it is."""
    found, expected = sq.Model.load(release).state_dict(), sq.Model.load(decoded).state_dict()
    for key, values in expected.items():
        rounded = found[key].astype(np.float16) if key.endswith(".weight") else found[key]
        assert np.array_equal(rounded, values), key


def test_release_knows_what_is_on_photographs(shared: Path, release: Path, decoded: Path) -> None:
    photographs = [shared / "imagenet_samples" / name for name in ("cat.jpg", "000017.jpg")]
    names = (shared / "imagenet_samples" / "synset_words.txt").read_text().splitlines()
    ours, theirs = (sq.Model.load(path) for path in (release, decoded))
    best = ours.predict_proba(photographs).argmax(1)
    assert np.array_equal(best, theirs.predict_proba(photographs).argmax(1))
    assert "kit fox" in names[best[0]] and "paddle" in names[best[1]]
    pictures = [ours.preprocessing.square(core.read_image(path)) for path in photographs]
    x = ours.preprocessing.normalise(np.stack(pictures))
    found, expected = ours.forward(x), theirs.forward(x)  # 0.002 of the largest, by rounding
    assert np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()


# -- Bad files -------------------------------------------------------------------------------------


def test_cut_files(convolutions: list[Convolution], refuses: Refuses) -> None:
    contents = packed(convolutions)
    for length in (0, 1, 8, COUNTS_BYTES - 1):  # too short to tell what it is
        refuses(contents[:length], "header's length|bytes")
    for length in (*range(COUNTS_BYTES, len(contents), len(contents) // 50), len(contents) - 1):
        words = rf"is cut short \({length} bytes, needs {len(contents)}\)$"
        refuses(contents[:length], words)


def test_files_that_are_too_long(convolutions: list[Convolution], refuses: Refuses) -> None:
    contents = packed(convolutions)
    words = rf"has {len(contents) + 1} bytes, expected the {len(contents)} that its counts"
    refuses(contents + b"\0", words)
    refuses(contents + bytes(2 << 20), "bytes, expected at most 19")


@pytest.mark.parametrize("count", [14113, (1 << 24) - 1])
def test_counts_past_the_convolution(
    convolutions: list[Convolution], refuses: Refuses, count: int
) -> None:
    contents = packed([replace(convolutions[0], count=count), *convolutions[1:]])
    refuses(contents, rf"features\.0\.weight has {count} codes, expected 1 to 14112, one a weight$")


@pytest.mark.parametrize("count", [0, 1 << 24, (1 << 32) - 1])
def test_counts_that_no_network_has(
    convolutions: list[Convolution], path: Path, refuses: Refuses, count: int
) -> None:
    """By them a file is not recognised; it is refused all the same, by the library too."""
    changed = replace(convolutions[5], count=count)
    refuses(packed([*convolutions[:5], changed, *convolutions[6:]]), "is this a safetensors file")
    words = rf"features\.4\.expand1x1\.weight has {count} codes, expected 1 to 1024"
    with pytest.raises(sq.BadFileError, match=words):
        core.read_deep_compression(path, **RELEASE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"runs": [*c.runs[:-1], c.runs[-1] + 1]}, "is for weight 1024, expected one"),
        (lambda c: {"runs": [15] * 65, "codes": [0] * 65}, "code 64 of {} is for weight 1039"),
        (lambda c: {"codebook": c.codebook + 1}, "the codebook of {} begins with 1, expected 0"),
        (lambda c: {"codebook": c.codebook * np.nan}, "codebook value 0 of {} is -?nan, expected"),
        (
            lambda c: {"codebook": np.append(c.codebook[:255], np.inf)},
            "codebook value 255 of {} is inf, expected a finite number",
        ),
        (lambda c: {"biases": c.biases * np.inf}, r"value 0 of features\.4\.expand1x1\.bias is"),
    ],
)
def test_convolutions_that_lie(
    convolutions: list[Convolution], refuses: Refuses, change: Callable, words: str
) -> None:
    changed = replace(convolutions[5], **change(convolutions[5]))
    contents = packed([*convolutions[:5], changed, *convolutions[6:]])
    refuses(contents, words.format(r"features\.4\.expand1x1\.weight"))


def test_values_that_folding_makes_infinite(
    convolutions: list[Convolution], refuses: Refuses
) -> None:
    huge = np.append(0, np.full(255, 3e38))
    contents = packed([replace(convolutions[0], codebook=huge), *convolutions[1:]])
    refuses(contents, r"features\.0\.(weight|bias) has values that are not finite")


def test_changed_bytes_are_refused_or_read(path: Path) -> None:
    """Never a crash, nor a value that is none."""
    contents = packed(some_convolutions(SMALL, 0.05)[0])
    rng, refused = np.random.default_rng(3), 0
    for _ in range(200):
        changed = bytearray(contents)
        for place in rng.integers(0, len(contents), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read = core.read_deep_compression(path, **SMALL)
            assert all(np.isfinite(values).all() for values in read.values())
        except sq.BadFileError:
            refused += 1
    assert 0 < refused < 200


LOAD = """
import resource, sys
import squeezenet_c as sq
from squeezenet_c._native import core
pages = int(open("/proc/self/statm").read().split()[0])
used = pages * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), resource.RLIM_INFINITY))
try:
    core.read_deep_compression(sys.argv[1], version="1_0", num_classes=1000)
except sq.BadFileError as error:
    print(error)
"""


@pytest.mark.parametrize("length", [3000, 1 << 40])
def test_memory_is_bounded_by_the_network(
    convolutions: list[Convolution], path: Path, length: int
) -> None:
    """Counts as large as can be, and a file of a terabyte, most of which is a hole. The network's
    parameters take 5 MB."""
    shapes = core.parameter_shapes(**RELEASE).values()
    sizes = [int(np.prod(shape)) for shape in shapes if len(shape) == 4]
    counts = [replace(c, count=size) for c, size in zip(convolutions, sizes, strict=True)]
    path.write_bytes(packed(counts)[:3000])
    os.truncate(path, length)
    found = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=path.parent,
    )
    assert found.returncode == 0 and found.stdout.startswith(f"{path}: "), found
    assert ("expected at most 19" if length > 3000 else "is cut short (3000") in found.stdout
