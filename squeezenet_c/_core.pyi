"""The compiled part of squeezenet_c. The Python modules beside it are its only callers."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

class BadFileError(ValueError):
    """A file was read, and its contents are not what they should be."""

# -- Build, threads, backends ----------------------------------------------------------------------
def build_info() -> dict[str, Any]: ...
def set_backend(name: str) -> None: ...
def get_backend() -> str: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...

# -- Pictures: HWC uint8 RGB -----------------------------------------------------------------------
def decode_image(data: bytes, name: str = "image") -> NDArray[np.uint8]: ...
def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]: ...
def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]: ...
def fit_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]: ...
def augment_flips(seed: int, epoch: int, indices: ArrayLike) -> NDArray[np.uint8]:
    """Bit 0: left-right, bit 1: upside down, one value for each index."""

def normalise(
    pictures: NDArray[np.uint8],
    mean: Sequence[float],
    std: Sequence[float],
    flips: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32, in parallel."""

def shuffle(count: int, seed: int, epoch: int) -> NDArray[np.int64]: ...

# -- Data ------------------------------------------------------------------------------------------
class PictureStore:
    """Files that become (image_size, image_size, 3) pictures, cached up to cache_bytes."""

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        image_size: int = 224,
        cache_bytes: int = 1 << 30,
    ): ...
    def __len__(self) -> int: ...
    image_size: int
    cached_bytes: int
    def picture(self, index: int) -> NDArray[np.uint8]: ...
    def loader(self, order: ArrayLike, ahead: int = 64, threads: int = 0) -> PictureLoader:
        """Reads the store in `order`, decoding ahead on threads (0: as many as set_num_threads)."""

class PictureLoader:
    def next(self, count: int) -> NDArray[np.uint8]:
        """The next `count` pictures of the order, (count, size, size, 3). Releases the GIL."""

# -- safetensors -----------------------------------------------------------------------------------
def read_safetensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]: ...
def write_safetensors(
    path: str | os.PathLike[str], tensors: dict[str, NDArray[np.float32]], metadata: dict[str, str]
) -> None: ...

# -- Networks --------------------------------------------------------------------------------------
class Network:
    """Parameters, gradients and plans of one network. squeezenet_c.Model is the public face of it."""

    def __init__(
        self,
        version: str,
        num_classes: int,
        *,
        seed: int = 0,
        final_relu: bool = False,
        dropout: float = 0.5,
        bypass: str | None = None,
        squeeze_ratio: float = 0.125,
        pct_3x3: float = 0.5,
        base_e: int = 128,
        incr_e: int = 128,
        freq: int = 2,
    ): ...
    seed: int
    parameter_count: int
    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def compute_gradients(
        self,
        x: NDArray[np.float32],
        labels: ArrayLike,
        global_batch: int | None = None,
        first_index: int = 0,
        step: int = 0,
        seed: int = 0,
    ) -> float: ...
    last_logits: NDArray[np.float32]
    """(N, classes) of the last compute_gradients, a copy."""
    def state_dict(self) -> dict[str, NDArray[np.float32]]: ...
    def load_state_dict(self, state: dict[str, ArrayLike]) -> None: ...
    gradients: dict[str, NDArray[np.float32]]
    flat_gradients: NDArray[np.float32]
    def layers(self, height: int, width: int) -> list[dict[str, Any]]: ...
    def plan(
        self, height: int, width: int, training: bool = False, repeats: int = 0
    ) -> list[dict[str, Any]]: ...

class Adam:
    """torch.optim.Adam without weight decay."""

    def __init__(
        self,
        model: Network,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ): ...
    lr: float
    step_count: int
    def step(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
