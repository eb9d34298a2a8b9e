"""The compiled part of squeezenet_c. The Python modules beside it are its only callers."""

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

class BadFileError(ValueError):
    """A file was read, and its contents are not what they should be."""

# -- Build, threads, backends ----------------------------------------------------------------------
def build_info() -> dict[str, Any]: ...
def set_onednn_library(path: str | os.PathLike[str]) -> None:
    """Where oneDNN's library is; before anything else. Builds without oneDNN have no such name."""

def set_backend(name: str) -> None: ...
def get_backend() -> str: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def quota_cpus(root: str) -> int:
    """For tests: CPUs that control groups allow, 0 for all, by the files under `root`."""

# -- Files -----------------------------------------------------------------------------------------
def read_file(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """All of a regular file. Never waits: a pipe, a socket or a device is a BadFileError, and so is
    a file of more than `limit` bytes. OSError: it cannot be read."""

def file_opener(path: str | os.PathLike[str], flags: int = os.O_RDONLY, /) -> int:
    """For open(path, "rb", opener=file_opener): the descriptor of a regular file, with the errors
    of read_file."""

def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes, atomically: a temporary file in the same folder, fsync, rename. Permissions
    of a file that is there are kept, symbolic links followed. OSError, which names the path: it
    cannot be written, and what was at `path` is untouched. Temporary files that killed writers have
    left in the folder are removed."""

# -- Pictures: HWC uint8 RGB -----------------------------------------------------------------------
def set_max_pixels(pixels: int) -> None:
    """The pixels that a picture may have, in every data set and thread from now on: a larger one is
    a BadFileError before memory is taken for it. The default is 89478485, past which Pillow warns.
    ValueError: below 1 or above 250000000."""

def get_max_pixels() -> int: ...
def decode_image(data: bytes, name: str = "image") -> NDArray[np.uint8]: ...
def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]: ...
def set_decoder(function: Callable[[bytes, str], NDArray[np.uint8]] | None) -> None:
    """What decodes TIFF and WebP files, of which it is given the bytes and the name, on any thread,
    from now on; None: they are refused."""

def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]: ...
def fit_image(image: NDArray[np.uint8], size: int, fit: str = "pad") -> NDArray[np.uint8]: ...
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

AUGMENTATION: dict[str, float]
"""The fields of an augmentation, each with its largest value; of flags True."""

def draw_changes(
    augmentation: dict[str, Any],
    seed: int,
    epoch: int,
    indices: ArrayLike,
    height: int,
    width: int,
) -> NDArray[np.int32]:
    """What becomes of the pictures of these numbers, a row each, see csrc/image/augment.h.
    augmentation: names of AUGMENTATION and values; what is left out is not done."""

def change_pictures(pictures: NDArray[np.uint8], changes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 as the N changes make them, in parallel."""

# -- Data ------------------------------------------------------------------------------------------
class PictureStore:
    """Files, or (h, w, 3) uint8 arrays, that become (image_size, image_size, 3) pictures, cached up
    to cache_bytes; with those of the store `share`, up to its bound."""

    def __init__(
        self,
        sources: Sequence[str | os.PathLike[str]] | Sequence[NDArray[np.uint8]],
        image_size: int = 224,
        cache_bytes: int = 1 << 30,
        fit: str = "pad",
        share: PictureStore | None = None,
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
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """(name -> float32, uint8 or int8 array, metadata); float16 and bfloat16 become float32."""

def write_safetensors(
    path: str | os.PathLike[str],
    tensors: dict[str, NDArray[Any]],
    metadata: dict[str, str],
    dtypes: dict[str, str] = {},
) -> None:
    """Of float32, uint8 and int8 arrays, atomically. `dtypes`, name -> "F16" or "BF16", rounds
    float32 arrays to the nearest of it, ties to even. ValueError: it says something else, or a
    finite number is beyond the range of the dtype."""

def read_deep_compression(
    path: str | os.PathLike[str], **spec: Any
) -> dict[str, NDArray[np.float32]]:
    """What a file in the form of Deep Compression's SqueezeNet holds (csrc/io/deep_compression.c),
    in state_dict's order, for the network of Network's arguments but seed. Nothing is folded."""

# -- Coded weights ---------------------------------------------------------------------------------
def encode_weights(weights: NDArray[np.int8], /) -> bytes:
    """At most 15 distinct values besides 0 as their Huffman codes, in the array's order; the same
    bytes for the same values. ValueError: more values."""

def decode_weights(
    data: bytes | bytearray | memoryview | NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int8], int]:
    """(the `count` weights, how many bytes of `data`, from its beginning, code them). BadFileError:
    they do not."""

# -- Networks --------------------------------------------------------------------------------------
SPEC_FIELDS: dict[str, Any]
"""What a spec says: the fields, which are Network's arguments but seed, with their defaults."""
LANES: int
"""In how many lanes a batch's gradients are summed, a power of two; csrc/sqz.h has the order."""

def parameter_shapes(
    version: str = "1_1", num_classes: int = 2, **spec: Any
) -> dict[str, tuple[int, ...]]:
    """Of a Network's parameters by name, in state_dict's order, without making it."""

class Network:
    """Parameters, gradients and plans of one network; squeezenet_c.Model is its public face."""

    def __init__(
        self,
        version: str = "1_1",
        num_classes: int = 2,
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
    @property
    def precision(self) -> str:
        """ "float32", "bfloat16" or "int8", of passes that begin from now on. Setting it is a
        ValueError for "int8" where the network is not quantised, and a RuntimeError where the
        backend in use does not offer it and SQZ_BF16 is not "emulate"; nothing changes then.
        Where a backend chosen later does not offer it, the next pass gives a UserWarning and sets
        "float32"."""

    @precision.setter
    def precision(self, precision: str) -> None: ...
    seed: int
    parameter_count: int
    spec: dict[str, Any]
    """__init__'s arguments, but seed."""
    def forward(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, classes) of x (N, 3, H, W) float32, or in precision "int8" of (N, H, W, 3) uint8."""

    def class_maps(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, classes, h, w): the last convolution's output; its mean over h and w is the logit."""

    def pooled_features(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, C): the mean over pixels of what the last convolution reads."""

    def set_quantization(
        self,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        activation_scales: NDArray[np.float32],
        weight_scales: NDArray[np.float32],
    ) -> None:
        """Rounds the weights to whole steps of their scales, for precision "int8". Whatever writes
        the parameters later drops it."""
    quantization: dict[str, NDArray[np.float32]] | None
    """What set_quantization was given, or None."""
    def observe(
        self,
        x: NDArray[np.float32],
        limits: NDArray[np.float32] | None = None,
        bins: int = 2048,
    ) -> NDArray[Any]:
        """Without limits (activations,) float32, each one's largest value; with them
        (activations, bins) uint64, how many values above 0 are in each bin of limit / bins."""

    def activation_groups(self) -> list[int]:
        """Activations of one group share a scale; -1: it has none."""

    def compute_gradients(
        self,
        x: NDArray[np.float32] | NDArray[np.uint8],
        labels: ArrayLike,
        *,
        global_batch: int | None = None,
        indices: ArrayLike | None = None,
        step: int = 0,
        seed: int = 0,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
        total_weight: float = 0.0,
        frozen: Collection[str] | None = None,
        temperature: float = 1.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        changes: NDArray[np.int32] | None = None,
    ) -> float:
        """x: (N, 3, H, W) float32, or (N, H, W, 3) uint8, which become it by change_pictures and
        normalise, each in the thread that works on it. labels: N integers, or (N, classes)
        probabilities. total_weight: the sum of the global batch's labels' class weights; 0:
        summed here, which needs the whole batch. frozen: names of parameters whose gradient is
        not wanted; it becomes 0, and the way back ends where nothing before it learns."""

    last_logits: NDArray[np.float32]
    """(N, classes) of the last compute_gradients, a copy."""
    last_losses: NDArray[np.float64]
    """(N,), its pictures' own losses, a copy."""
    def state_dict(self) -> dict[str, NDArray[np.float32]]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    gradients: dict[str, NDArray[np.float32]]
    flat_gradients: NDArray[np.float32]
    def layers(self, height: int, width: int) -> list[dict[str, Any]]:
        """name, kind, inputs and output (activations by number; 0 is the picture), first_channel
        (of the output's, that the layer writes), in_shape and out_shape (C, H, W), kernel, stride,
        padding, relu and parameter_count of each layer, in an order they can run in."""
    def plan(
        self, height: int, width: int, training: bool = False, repeats: int = 0
    ) -> list[dict[str, Any]]: ...

class Optimizer:
    """What Adam and SGD have in common; none is made of this class itself."""

    lr: float
    step_count: int
    spans: list[tuple[int, float, float]]
    def set_spans(self, spans: Sequence[tuple[int, float, float]]) -> None:
        """(floats, lr_scale, weight_decay) of stretches of the flat parameters, one after the other
        in state_dict's order. lr_scale 0 freezes: no step touches them or their moments."""
    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Over the flat parameters; where it is False no step touches a parameter or its moments.
        None: all are updated."""

    @mask.setter
    def mask(self, mask: NDArray[np.bool_] | None) -> None: ...
    clip_norm: float | None
    """The Euclidean norm to which steps first scale gradients that are longer; None: none."""
    def keep_average(self, decay: float) -> None:
        """From now on keep an average of the parameters, beginning with them as they are."""
    @property
    def average(self) -> dict[str, NDArray[np.float32]] | None:
        """By parameter name, copies; None where none is kept."""

    def step(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...

class Adam(Optimizer):
    """torch.optim.Adam without weight decay, or by set_spans torch.optim.AdamW."""

    def __init__(
        self,
        model: Network,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ): ...

class SGD(Optimizer):
    """torch.optim.SGD; weight decay, by set_spans, is part of the gradient."""

    def __init__(
        self, model: Network, lr: float = 1e-3, momentum: float = 0.0, nesterov: bool = False
    ): ...

# -- Shared values ---------------------------------------------------------------------------------
def codebook_weights(
    values: NDArray[np.float32], units: NDArray[np.float32], codes: NDArray[np.uint8], /
) -> NDArray[np.float32]:
    """units[row] * values[codes[row, column]]. ValueError: a code is none of the values."""

def codebook_gradients(
    gradients: NDArray[np.float32],
    units: NDArray[np.float32],
    codes: NDArray[np.uint8],
    count: int,
    /,
) -> NDArray[np.float32]:
    """Of each of `count` values the sum over its weights of their unit times their gradient."""

# -- Single ops, for tests -------------------------------------------------------------------------
# Logical channels, any strides, float32 alone. backend: "onednn", "openmp" or None (in use); after
# a name may stand ":bfloat16", then activations are rounded on their way in, and openmp emulates.
# TypeError: another dtype; ValueError: shapes that do not fit; RuntimeError: the op wrote where it
# must not (past a buffer, beside its slice, into a hole) or the backend is not offered.
# `dx` and `db` are what an op is to add to; without them it overwrites. They are not written.
_Floats = NDArray[np.float32]
_Pair = int | tuple[int, int]

def _op_conv2d(
    x: _Floats,
    weight: _Floats,
    bias: _Floats,
    stride: _Pair = 1,
    padding: _Pair = 0,
    relu: bool = False,
    planar: bool = False,
    blocks_before: int = 0,
    blocks_after: int = 0,
    backend: str | None = None,
) -> _Floats:
    """(N, C, H, W) and (K, C, R, S) to (N, K, P, Q). planar: the op reads [C][H][W] as the first
    layer does. It writes into a tensor of so many more channel blocks before and after."""

def _op_conv2d_backward(
    x: _Floats,
    weight: _Floats,
    dy: _Floats,
    y: _Floats | None = None,
    stride: _Pair = 1,
    padding: _Pair = 0,
    planar: bool = False,
    dx: _Floats | None = None,
    blocks_before: int = 0,
    blocks_after: int = 0,
    backend: str | None = None,
) -> tuple[_Floats | None, _Floats, _Floats]:
    """(dx, dw, db); dw and db summed over the pictures, dx None if planar. y: the result of a
    convolution with ReLU, which masks dy."""

def _op_implementations(
    x_shape: tuple[int, int, int],
    weight_shape: tuple[int, int, int, int],
    stride: _Pair = 1,
    padding: _Pair = 0,
    relu: bool = False,
    planar: bool = False,
    backend: str | None = None,
) -> dict[str, str]:
    """What runs "forward", "backward_data" ("" if planar) and "backward_weights"."""

def _op_relu_backward(
    dy: _Floats,
    y: _Floats | None = None,
    db: _Floats | None = None,
    backend: str | None = None,
) -> tuple[_Floats | None, _Floats]:
    """(dx, db) of a bias and a ReLU; without y, (None, db) of a bias alone."""

def _op_max_pool2d(
    x: _Floats, kernel: int, stride: int, argmax: bool = True, backend: str | None = None
) -> tuple[_Floats, NDArray[np.uint8] | None]: ...
def _op_max_pool2d_backward(
    dy: _Floats,
    argmax: NDArray[np.uint8],
    height: int,
    width: int,
    kernel: int,
    stride: int,
    dx: _Floats | None = None,
    backend: str | None = None,
) -> _Floats: ...
def _op_average_pool(x: _Floats, backend: str | None = None) -> _Floats: ...
def _op_average_pool_backward(
    dy: _Floats, height: int, width: int, backend: str | None = None
) -> _Floats: ...
def _op_dropout(
    x: _Floats,
    probability: float,
    seed: int = 0,
    step: int = 0,
    picture: int = 0,
    backend: str | None = None,
) -> tuple[_Floats, NDArray[np.uint8]]:
    """(y, mask)"""

def _op_dropout_backward(
    dy: _Floats, mask: NDArray[np.uint8], probability: float, backend: str | None = None
) -> _Floats: ...
def _op_sum(
    a: _Floats, b: _Floats, in_place: bool = False, backend: str | None = None
) -> _Floats: ...
def _op_round(x: _Floats, backend: str | None = None) -> _Floats:
    """(N,) by way of the backend's element: as the network's input goes into its first layer."""

def _op_cross_entropy(logits: _Floats, label: int, scale: float = 1.0) -> tuple[float, _Floats]:
    """(loss, scale * d loss / d logits) of one picture."""

def _op_philox(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]: ...
