"""Loads the compiled part, `core`; all other modules take it from here.

The compiled part finds oneDNN's library by a path relative to itself. That fails where packages are
not in the environment's site-packages (an editable install, --target); then the library is looked
up in the installed packages' lists of files and loaded before it.
"""

import ctypes
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

ONEDNN_LIBRARY = "libdnnl.so.3"
ONEDNN_DISTRIBUTION = "onednn-cpu-gomp"


def _import_core() -> ModuleType:
    import squeezenet_c._core as core

    return core


def _preload_onednn() -> None:
    """Load oneDNN's library from the package that carries it, for this process."""
    from importlib import metadata

    try:
        files = metadata.files(ONEDNN_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == ONEDNN_LIBRARY and path.exists():
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            return
    raise ImportError(
        f"squeezenet_c was built with oneDNN, and {ONEDNN_LIBRARY} is not installed: run "
        f"`pip install {ONEDNN_DISTRIBUTION}==2023.2.0`, or build without it "
        "(`SQZ_ONEDNN=0 pip install .` in the source folder)"
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
