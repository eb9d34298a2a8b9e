"""Loads the compiled part, `core`; all other modules take it from here.

The compiled part loads oneDNN's library when it first needs it, and does without where there is
none (build_info()["onednn_reason"] says so). It is told here where pip has put it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

ONEDNN_LIBRARY = "libdnnl.so.3"
ONEDNN_DISTRIBUTION = "onednn-cpu-gomp"

# How often GNU OpenMP's threads look for more work before they sleep: about a tenth of a
# millisecond. Its default is ten milliseconds, which NumPy's or PyTorch's threads miss after every
# step of ours.
SPIN_COUNT = "3000"


@contextmanager
def _short_spin() -> Iterator[None]:
    """For the time in which OpenMP's library is loaded, which is when it reads its variables;
    without effect where it is there already, and where the user has a wait policy of their own."""
    if any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def _find_onednn() -> Path | None:
    """oneDNN's library, of the package that carries it."""
    # In the environment's lib folder, also where site-packages is in lib64.
    above = Path(__file__).resolve().parents
    for folder in (*above[3:4], *(environment / "lib" for environment in above[4:5])):
        if (folder / ONEDNN_LIBRARY).is_file():
            return folder / ONEDNN_LIBRARY
    # We are not in site-packages: an editable install, or --target.
    from importlib import metadata  # here, because an ordinary import does not need it

    for distribution in metadata.distributions(name=ONEDNN_DISTRIBUTION):
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if file.name == ONEDNN_LIBRARY and path.exists():
                return path
    return None


def _load_core() -> ModuleType:
    try:
        with _short_spin():
            import squeezenet_c._core as core
    except ModuleNotFoundError as error:
        if error.name != "squeezenet_c._core":
            raise
        raise ImportError(
            f"the compiled part of squeezenet_c is not in {Path(__file__).parent}: run "
            "`pip install .` in the source folder, and start Python from another folder, because "
            "the source folder hides the installed package from a Python that is started in it"
        ) from None
    if hasattr(core, "set_onednn_library"):  # a build with oneDNN
        library = _find_onednn()
        if library:
            core.set_onednn_library(library)
    return core


if TYPE_CHECKING:
    from squeezenet_c import _core as core
else:
    core = _load_core()
