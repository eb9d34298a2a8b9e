"""Builds squeezenet_c._core; everything that is not compiling is in pyproject.toml.

Environment: SQZ_ONEDNN=0 builds with the OpenMP backend alone, SQZ_STB_IMAGE names a copy of
stb_image.h, SQZ_WERROR=1 turns warnings into errors, SQZ_SANITIZE=address,undefined instruments.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))

import externals  # noqa: E402
import sources  # noqa: E402


class BuildCore(build_ext):
    """Compiles csrc as sources.py lists it, on all cores."""

    def build_extension(self, extension: Extension) -> None:
        try:
            self._build(Path(self.get_ext_fullpath(extension.name)))
        except externals.Missing as missing:
            raise SetupError(str(missing)) from None

    def _build(self, target: Path) -> None:
        check_compiler(self.compiler.compiler_so[0])
        include = [check_python_headers(), check_numpy(), str(stb_image().parent)]
        onednn = externals.find_onednn() if externals.onednn_wanted() else None
        if onednn:
            include.append(str(onednn.include))
        # CC may be several words, as "ccache gcc"; what follows them are flags.
        command = shlex.split(os.environ.get("CC", "")) or self.compiler.compiler_so[:1]
        flags = sources.compile_flags(command)

        def compile_unit(unit: sources.Unit) -> str:
            # One folder an instruction set and element: the compiler names objects by sources.
            return self.compiler.compile(
                [str(unit.source.relative_to(ROOT))],
                output_dir=str(Path(self.build_temp, unit.isa or "any", unit.element)),
                include_dirs=include,
                extra_postargs=[*flags, *unit.flags],
            )[0]

        units = sources.library_units(bool(onednn)) + sources.binding_units(bool(onednn))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_unit, units))
        link = sources.link_flags(command, bool(onednn))
        # Python's own link command may name folders of this machine; the wheel shall not.
        self.compiler.linker_so = [
            word for word in self.compiler.linker_so if not word.startswith("-Wl,-rpath")
        ]
        target.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.link_shared_object(objects, str(target), extra_postargs=link)
        # The exporter's C files are data of the package.
        shutil.copytree(sources.PORTABLE, target.with_name("portable"), dirs_exist_ok=True)
        # For the test that what is installed is what is here.
        target.with_name(sources.DIGEST_FILE).write_text(sources.digest() + "\n", encoding="ascii")


def check_compiler(compiler: str) -> None:
    if sys.platform == "win32":
        raise SetupError("squeezenet_c is not built on Windows itself: use WSL")
    if not shutil.which(compiler):
        raise SetupError(
            f"there is no C compiler, {compiler} is not on PATH: install gcc or clang "
            "(Debian: apt-get install gcc libc6-dev), or name one in the environment variable CC"
        )


def check_python_headers() -> str:
    folder = sysconfig.get_paths()["include"]
    if not Path(folder, "Python.h").is_file():
        raise SetupError(
            f"Python.h is not in {folder}: install Python's development files "
            "(Debian: apt-get install python3-dev)"
        )
    return folder


def check_numpy() -> str:
    try:
        import numpy
    except ImportError:
        raise SetupError(
            "NumPy is not installed where squeezenet_c is built: pip install 'numpy>=2'"
        ) from None
    if int(numpy.__version__.split(".")[0]) < 2:
        raise SetupError(
            f"NumPy is {numpy.__version__} where squeezenet_c is built, expected 2.0 or newer: "
            "pip install 'numpy>=2'"
        )
    return numpy.get_include()


def stb_image() -> Path:
    return externals.find_stb_image(ROOT / "build")


def dependencies() -> list[str]:
    # openpyxl reads XML by defusedxml where that is: entities of entities would fill the memory
    needed = ["numpy>=2", "openpyxl", "defusedxml", "PyYAML", "tqdm"]
    if os.environ.get("SQZ_ONEDNN") != "0":
        where = 'platform_machine == "x86_64" and sys_platform == "linux"'
        needed.append(f"{externals.ONEDNN_LIBRARY}=={externals.ONEDNN_VERSION}; {where}")
    return needed


setup(
    install_requires=dependencies(),
    ext_modules=[Extension("squeezenet_c._core", sources=[])],
    cmdclass={"build_ext": BuildCore},
)
