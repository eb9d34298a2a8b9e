"""`export eyes.c`: one file of C99 that gives the package's int8 logits, bit for bit, on every
compiler and processor."""

import functools
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portable_support import (
    SANITIZE,
    SMALL,
    STRICT,
    build,
    check,
    need,
    pictures_of,
    quantised,
    run,
)

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.files.c_write import identifier, literal

STACK_BYTES = 1500

MODELS: dict[str, dict[str, Any]] = {
    "1_0": {"image_size": 64, "version": "1_0"},
    "1_0 compressed": {"image_size": 61, "version": "1_0", **SMALL, "compressed": True},
    "1_1 at 61": {"image_size": 61, **SMALL, "final_relu": True, "num_classes": 4},
    "1_1 at 49": {"image_size": 49, **SMALL},
    "1_1 at 224": {"image_size": 224},
    "1_1 at 224, compressed": {"image_size": 224, "compressed": True},
    "simple bypass": {"image_size": 64, "bypass": "simple", "num_classes": 3, **SMALL},
    "simple bypass, compressed": {
        **{"image_size": 33, "version": "1_0", "bypass": "simple", "compressed": True},
        **SMALL,
    },
    "odd channel counts": {
        **{"image_size": 62, "bypass": "simple", "num_classes": 3},
        **{"base_e": 5, "incr_e": 7, "squeeze_ratio": 0.3, "pct_3x3": 0.25},
    },
    "odd channel counts, compressed": {
        **{"image_size": 64, "num_classes": 7, "compressed": True},
        **{"base_e": 45, "incr_e": 19, "squeeze_ratio": 0.11, "pct_3x3": 0.8},
    },
}


@functools.cache
def model_of(name: str) -> sq.Model:
    return quantised(**MODELS[name])


# -- The same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_packages_logits_and_maps(tmp_path: Path, name: str) -> None:
    model = model_of(name)
    options = ["-O1", "-DEYES_MAPS", *STRICT, *SANITIZE]
    check(model, [build(tmp_path, model, ["gcc", *options])], maps=True)


@pytest.mark.parametrize(
    "command",
    [
        ["gcc", "-O3", *STRICT],
        ["gcc", "-O3", "-march=native", "-ffast-math", "-funsigned-char"],
        ["clang", "-O3", *STRICT],
        ["clang", "-O2", "-march=native", "-ffp-contract=fast"],
    ],
    ids=" ".join,
)
def test_compilers(tmp_path: Path, command: list[str]) -> None:
    for name in ("1_1 at 61", "odd channel counts, compressed"):
        check(model_of(name), [build(tmp_path, model_of(name), command)])


@pytest.mark.parametrize("option", ["-mfpmath=387", "-mssse3", "-mavx2"])
def test_x86(tmp_path: Path, option: str) -> None:
    """The x87, whose registers hold more digits than a float has; and each way to sum."""
    if os.uname().machine != "x86_64":
        pytest.skip("hardware: this is no x86")
    if option == "-mavx2" and sq.build_info()["cpu_isa"] == "baseline":
        pytest.skip("hardware: there is no AVX2")
    for name in ("1_1 at 49", "odd channel counts, compressed"):
        check(model_of(name), [build(tmp_path, model_of(name), ["gcc", "-O2", option])])


# -- The program -----------------------------------------------------------------------------------

SHAPES = [(64, 64), (50, 70), (300, 200), (1000, 61), (60, 1000), (1, 1), (3, 500), (20, 20)]


def program_of(folder: Path, model: sq.Model, *options: str) -> Path:
    need("gcc")
    model.export(folder / "eyes.c")
    command = ["gcc", "-O1", *STRICT, *SANITIZE, *options, "-DEYES_MAIN", "eyes.c", "-o", "eyes"]
    run([*command, "-lm"], cwd=folder)
    return folder / "eyes"


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_the_program_answers_as_predict_does(tmp_path: Path, fit: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="build: Pillow is not installed")
    model = quantised(64, **SMALL, fit=fit, class_names=['"a??/\\', "病理性近视"])
    program = program_of(tmp_path, model)
    random = np.random.RandomState(5)
    for height, width in SHAPES:
        coarse = random.randint(0, 256, (height // 7 + 1, width // 7 + 1, 3)).astype(np.uint8)
        picture = image.fromarray(coarse).resize((width, height))
        picture.save(tmp_path / "photo.ppm")
        answer = model.predict(np.asarray(picture))
        assert isinstance(answer, sq.Answer)
        expected = f"{answer.name} {answer.confidence:.6f}\n"
        assert run([program, tmp_path / "photo.ppm"]) == expected, (height, width)


def test_the_program_knows_the_threshold(tmp_path: Path) -> None:
    model = quantised(49, **SMALL, positive=0)
    photo = tmp_path / "photo.ppm"
    photo.write_bytes(b"P6 # a comment\n49\t49 255\n" + pictures_of(49)[0].tobytes())
    probability = float(model.predict_proba(pictures_of(49)[:1])[0, 0])
    for threshold, answer in ((probability - 0.01, 0), (probability + 0.01, 1)):
        model.threshold = threshold
        share = probability if answer == 0 else 1 - probability
        assert run([program_of(tmp_path, model), photo]) == f"{answer} {share:.6f}\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no binary PPM"),
        (b"P5 2 2 255\n1234", "is no binary PPM"),
        (b"P6 2 -2 255\n", "its sides are not two numbers from 1 to 65536"),
        (b"P6 0 2 255\n", "its sides"),
        (b"P6 99999999999999999999 2 255\n", "its sides"),
        (b"P6 2 2 65535\n" + bytes(24), "its largest value is not 255"),
        (b"P6 2 2 255#", "its largest value"),
        (b"P6 2 2 255\n" + bytes(11), "ends before its last row"),
        (b"P6 2 60000 255\n" + bytes(11), "ends before its last row"),
    ],
)
def test_bad_pictures(tmp_path_factory: pytest.TempPathFactory, data: bytes, message: str) -> None:
    program = small_program(tmp_path_factory)
    photo = program.with_name("photo.ppm")
    photo.write_bytes(data)
    result = subprocess.run([program, photo], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{photo}: {message}") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("through", ["file", "pipe"])
def test_a_picture_that_says_it_is_larger(
    tmp_path_factory: pytest.TempPathFactory, through: str
) -> None:
    """Memory that the header alone asks for is not taken; of a pipe nothing else is known."""
    program = small_program(tmp_path_factory)
    photo = program.with_name("photo.ppm")
    photo.write_bytes(b"P6 30000 65536 255\n" + bytes(100))  # which keeps 5000 rows
    limit = {"ASAN_OPTIONS": "max_allocation_size_mb=20:allocator_may_return_null=1"}
    command = {
        "file": [program, photo],
        "pipe": ["bash", "-c", f"cat '{photo}' | '{program}' /dev/stdin"],
    }
    result = subprocess.run(
        command[through], capture_output=True, text=True, timeout=60, env={**os.environ, **limit}
    )
    said = {"file": "ends before its last row", "pipe": "is larger than memory"}
    assert result.returncode == 1 and said[through] in result.stderr


def test_a_missing_picture(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = small_program(tmp_path_factory)
    for arguments, status in (([], 2), (["none.ppm"], 1)):
        result = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stdout) == (status, "") and result.stderr


_programs: list[Path] = []


def small_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not _programs:
        folder = tmp_path_factory.mktemp("program")
        _programs.append(program_of(folder, model_of("1_1 at 49")))
    return _programs[0]


# -- Export ----------------------------------------------------------------------------------------


def test_a_float32_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = sq.Model(image_size=64, **SMALL)
    with pytest.raises(ValueError, match="not quantised"):
        model.export(tmp_path / "eyes.c")
    model.save(tmp_path / "float.safetensors")
    assert main(["export", str(tmp_path / "float.safetensors"), str(tmp_path / "eyes.c")]) == 1
    said = capsys.readouterr().err
    assert "quantize" in said and "--calibrate DATA" in said and said.count("\n") == 1
    assert not (tmp_path / "eyes.c").exists()


def test_export_quantises_on_the_way(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="build: Pillow is not installed")
    for label, picture in enumerate(pictures_of(64, 10)):
        folder = tmp_path / "data" / ("a", "b")[label % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(picture).save(folder / f"{label}.png")
    model = sq.Model(image_size=64, **SMALL, class_names=["a", "b"])
    model.save(tmp_path / "float.safetensors")
    names = [str(tmp_path / name) for name in ("float.safetensors", "eyes.c", "data")]
    assert main(["export", *names[:2], "--calibrate", names[2]]) == 0
    twin = model.quantize(sq.Dataset.from_folder(names[2]))
    (tmp_path / "twin").mkdir()
    twin.export(tmp_path / "twin" / "eyes.c")
    assert (tmp_path / "eyes.c").read_text() == (tmp_path / "twin" / "eyes.c").read_text()


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("eyes", "eyes"),
        ("My Eyes-2.final", "my_eyes_2_final"),
        ("1_1", "model_1_1"),
        ("_x_", "x"),
        ("眼", "model"),
    ],
)
def test_names_begin_with_the_files(stem: str, name: str) -> None:
    assert identifier(stem) == name


def test_class_names_in_c() -> None:
    assert literal('a"b\\c??/') == '"a\\042b\\134c\\077\\077/"'
    assert literal("é\n") == '"\\303\\251\\012"'


def test_other_names(tmp_path: Path) -> None:
    """The file's name is in everything but what the user called a class, in the first lines too."""
    need("gcc")
    names = ["eyes_open", "EYES_SHUT"]
    quantised(49, **SMALL, class_names=names).export(tmp_path / "look.c")
    text = (tmp_path / "look.c").read_text()
    words = re.findall(r"\w*eyes\w*", text, re.IGNORECASE)
    assert sorted(words) == sorted(2 * names)
    assert "-DLOOK_MAIN look.c -lm -o look" in text
    run(["gcc", "-O0", "-DLOOK_MAIN", "look.c", "-o", "look", "-lm"], cwd=tmp_path)


def test_class_names_in_the_comment(tmp_path: Path) -> None:
    """Nothing in them ends it, or makes a compiler warn."""
    need("gcc")
    names = ["*/ #error", "/* \\", "a\nb\u202e", "??/"]
    model = quantised(49, **SMALL, num_classes=4, class_names=names)
    model.export(tmp_path / "eyes.c")
    run(["gcc", "-O0", *STRICT, "-c", "eyes.c", "-o", "eyes.o"], cwd=tmp_path)


# -- What it needs ---------------------------------------------------------------------------------


CORTEX = ["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-ffreestanding"]


@pytest.mark.parametrize(
    "command",
    [["gcc"], ["clang"], ["arm-linux-gnueabihf-gcc"], ["arm-none-eabi-gcc", *CORTEX]],
    ids=lambda command: command[0],
)
def test_no_other_symbols(tmp_path: Path, command: list[str]) -> None:
    need(command[0], "nm")
    model_of("1_0 compressed").export(tmp_path / "My eyes-2.c")
    run([*command, "-O3", *STRICT, "-c", "My eyes-2.c", "-o", "eyes.o"], cwd=tmp_path)
    symbols = [line.split()[-2:] for line in run(["nm", tmp_path / "eyes.o"]).splitlines()]
    undefined = {name for kind, name in symbols if kind == "U"}
    assert undefined <= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}
    public = {name for kind, name in symbols if kind.isupper() and kind != "U"}
    stem = "my_eyes_2"
    assert public == {f"{stem}_{name}" for name in ("class_names", "init", "row", "finish")}
    assert not [name for kind, name in symbols if kind in "bBcC"], "something is no constant"


def test_memory(tmp_path: Path) -> None:
    """v1.1 compressed at 224: 54 kB of state and stack, 384 of constants."""
    need("gcc", "size")
    model_of("1_1 at 224, compressed").export(tmp_path / "eyes.c")
    text = (tmp_path / "eyes.c").read_text()
    says = re.search(r"eyes_state ([\d,]+) bytes, constants ([\d,]+), stack about ([\d,]+)", text)
    assert says
    state, constants, about = (int(number.replace(",", "")) for number in says.groups())
    probe = f"typedef char same[EYES_STATE_BYTES == {state} ? 1 : -1];\n"
    (tmp_path / "probe.c").write_text(f'#include "eyes.c"\n{probe}')
    run(["gcc", "-O3", "-c", "-fstack-usage", "probe.c"], cwd=tmp_path)
    frames: dict[str, int] = {}  # the largest of each function's copies
    for line in (tmp_path / "probe.su").read_text().splitlines():
        place, size, kind = line.split("\t")
        assert kind == "static"
        function = place.rpartition(":")[2].partition(".")[0]
        frames[function] = max(frames.get(function, 0), int(size))
    stack = sum(frames.values())  # nothing is recursive
    text_bytes, data_bytes, bss_bytes = map(
        int, run(["size", tmp_path / "probe.o"]).splitlines()[1].split()[:3]
    )
    print(f"state {state}, stack under {stack}, constants {constants}, all {text_bytes}")
    assert stack < STACK_BYTES and abs(stack - about) < 150
    assert state + stack < 54_000
    assert 384_000 < constants < 385_000
    assert constants < text_bytes + data_bytes < constants + 30_000
    assert bss_bytes == 0
