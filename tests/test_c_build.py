"""The C library built and installed without Python's package, by csrc/meson.build, and used by a C
program that finds it with pkg-config."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from portable_support import need, run

import squeezenet_c as sq

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "c" / "train.c"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]


def environment(**variables: str) -> dict[str, str]:
    """Ninja may be where this Python's scripts are, which PATH need not name."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, **variables}


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "oneDNN"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it was installed into. Compiled without optimising, which takes a fifth."""
    for module in ("mesonbuild", "ninja"):
        pytest.importorskip(module, reason=f"build: {module} is not installed")
    need("gcc", "pkg-config", "readelf", "nm")
    if request.param and not sq.build_info()["onednn_version"]:
        pytest.skip("build: there is no oneDNN")
    folder = tmp_path_factory.mktemp("c")
    meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
    options = [f"--prefix={folder / 'installed'}", "--libdir=lib", "-Doptimization=0"]
    options += [f"-Donednn={str(request.param).lower()}", "-Dwerror=true"]
    run([*meson, "setup", folder / "build", ROOT / "csrc", *options], env=environment(CC="gcc"))
    run([*meson, "install", "-C", folder / "build"], env=environment())
    return folder / "installed"


def pkg_config(installed: Path, *options: str) -> list[str]:
    folder = str(installed / "lib" / "pkgconfig")
    command = ["pkg-config", *options, "sqz"]
    return run(command, env=environment(PKG_CONFIG_PATH=folder)).split()


def has_onednn(installed: Path) -> bool:
    chosen = (installed.parent / "build/meson-info/intro-buildoptions.json").read_text()
    return next(option["value"] for option in json.loads(chosen) if option["name"] == "onednn")


def test_what_is_installed(installed: Path) -> None:
    library = installed / "lib" / f"libsqz.so.{sq.__version__}"
    assert pkg_config(installed, "--modversion") == [sq.__version__]
    minor = sq.__version__.rpartition(".")[0]  # below version 1, each may change what is there
    dynamic = run(["readelf", "-d", library])
    assert f"Library soname: [libsqz.so.{minor}]" in dynamic
    assert ("Library runpath" in dynamic) == has_onednn(installed)  # where it is looked for
    headers = [(installed / "include" / name).read_text() for name in ("sqz.h", "sqz_files.h")]
    declared = set(re.findall(r"\b(sqz_\w+)\(", "".join(headers)))
    symbols = run(["nm", "-D", "--defined-only", library]).splitlines()
    assert {line.split()[-1] for line in symbols} == declared
    assert len(declared) > 80


@pytest.mark.parametrize("link", ["shared", "static"])
def test_a_program_trains_and_predicts(
    installed: Path, palm_folder: Path, tmp_path: Path, link: str
) -> None:
    options = ["--static"] if link == "static" else []
    flags = pkg_config(installed, "--cflags", "--libs", *options)
    if link == "static":
        if has_onednn(installed):
            pytest.skip("build: a static program loads no oneDNN")
        flags.insert(0, "-static")
    else:
        flags += ["-lm", f"-Wl,-rpath,{installed / 'lib'}"]
    run(["gcc", *WARNINGS, PROGRAM, *flags, "-o", tmp_path / "train"])
    photographs = sorted((palm_folder / "PALM-Training400").rglob("*.jpg"))
    chosen = [
        f"{label}:{path}"
        for label, letter in enumerate("NP")
        for path in [path for path in photographs if path.name[0] == letter][:2]
    ]
    loss, *answers = run([tmp_path / "train", *chosen]).splitlines()
    assert float(loss.removeprefix("loss ")) < 0.1
    assert len(answers) == len(chosen)
    for answer, (label, path) in zip(answers, (name.split(":") for name in chosen), strict=True):
        said, probability, named = answer.split(maxsplit=2)
        assert (said, named) == (label, path)
        assert abs(float(probability) - float(label)) < 0.2


def test_the_program_says_what_is_wrong(installed: Path, tmp_path: Path) -> None:
    flags = pkg_config(installed, "--cflags", "--libs")
    flags += ["-lm", f"-Wl,-rpath,{installed / 'lib'}"]
    run(["gcc", *WARNINGS, PROGRAM, *flags, "-o", tmp_path / "train"])
    for arguments, status, message in (
        ([], 2, "usage: "),
        (["photo.jpg"], 2, "usage: "),
        (["0:none.jpg"], 1, "train: none.jpg: cannot be read: "),
    ):
        result = subprocess.run(
            [tmp_path / "train", *arguments], capture_output=True, text=True, timeout=60
        )
        assert (result.returncode, result.stdout) == (status, "")
        assert result.stderr.startswith(message) and result.stderr.count("\n") == 1
