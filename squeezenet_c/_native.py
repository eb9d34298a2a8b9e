"""Loads the compiled part, `core`; all other modules take it from here.

The compiled part finds oneDNN's library by a path relative to itself. That fails where packages are
not in the environment's site-packages (an editable install, --target); then the library is looked
up in the installed packages' lists of files and loaded before it.
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


def _import_core() -> ModuleType:
    with _short_spin():
        import squeezenet_c._core as core

    return core


def _preload_onednn() -> None:
    """Load oneDNN's library from the package that carries it, for this process."""
    import ctypes  # here, because an ordinary import needs neither
    from importlib import metadata

    for distribution in metadata.distributions(name=ONEDNN_DISTRIBUTION):
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if file.name == ONEDNN_LIBRARY and path.exists():
                with _short_spin():
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                return
    raise ImportError(
        f"squeezenet_c was built with oneDNN, and {ONEDNN_LIBRARY} is not installed (pip's "
        f"--target leaves it out): run `pip install {ONEDNN_DISTRIBUTION}==2023.2.0`, or build "
        "without it (`SQZ_ONEDNN=0 pip install .` in the source folder)"
    )


def _load_core() -> ModuleType:
    try:
        return _import_core()
    except ModuleNotFoundError as error:
        if error.name != "squeezenet_c._core":
            raise
        raise ImportError(
            f"the compiled part of squeezenet_c is not in {Path(__file__).parent}: run "
            "`pip install .` in the source folder, and start Python from another folder, because "
            "the source folder hides the installed package from a Python that is started in it"
        ) from None
    except ImportError as error:
        if ONEDNN_LIBRARY not in str(error):
            raise
    _preload_onednn()
    return _import_core()


if TYPE_CHECKING:
    from squeezenet_c import _core as core
else:
    core = _load_core()
