"""A slow, obvious reference of int8 inference, in NumPy: the arithmetic of csrc/README.md, "int8".

Everything is defined to the bit. Whole numbers are int64 here, which nothing in it overflows, and
float32 and float64 are written where each is meant. Nothing here imports the package.

A quantisation is a dict: "mean" and "std" (3), of the preprocessing; "activation_scales", one an
activation, numbered as the network's layers number them, of which 0 is the picture, 1 a byte; and
"weight_scales", one an output channel of all convolutions, in the order of the parameters. All are
float32.
"""

from dataclasses import dataclass

import numpy as np
from oracle import max_pool_size

LEAST_WEIGHT, MOST_WEIGHT = -127, 127
MOST_BYTE = 255
MOST_BIAS = 1 << 30
MOST_SUM = 1 << 30

# -- The network, written down ---------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One layer: `output` and `inputs` are numbers of activations. A convolution fills `part` 0 or
    1 of its output's channels (a Fire module's two expands are one activation), or is its only
    part."""

    kind: str  # "conv", "max_pool", "dropout", "sum" or "average_pool"
    name: str
    inputs: tuple[int, ...]
    output: int
    stride: int = 1
    padding: int = 0
    part: int = 0


def steps_of(spec):
    """The layers of SqueezeNet in order, by the names of torchvision's parameters."""
    steps = []
    count = 1  # activations so far: the picture

    def new():
        nonlocal count
        count += 1
        return count - 1

    def add(kind, name, inputs, output, **options):
        steps.append(Step(kind, name, inputs, output, **options))
        return output

    current = add("conv", "features.0", (0,), new(), stride=2)
    current = add("max_pool", "features.2", (current,), new())
    feature = 3
    pooled = (2, 6) if spec["version"] == "1_0" else (1, 3)
    for index in range(8):
        layer, entered = f"features.{feature}", current
        squeezed = add("conv", f"{layer}.squeeze", (entered,), new())
        current = add("conv", f"{layer}.expand1x1", (squeezed,), new())
        add("conv", f"{layer}.expand3x3", (squeezed,), current, padding=1, part=1)
        if spec["bypass"] == "simple" and index % 2 == 1:
            current = add("sum", f"{layer}.sum", (current, entered), new())
        feature += 1
        if index in pooled:
            current = add("max_pool", f"features.{feature}", (current,), new())
            feature += 1
    current = add("dropout", "classifier.0", (current,), new())
    current = add("conv", "classifier.1", (current,), new())
    add("average_pool", "classifier.3", (current,), new())
    return steps


def groups_of(steps):
    """For each activation a number that it has in common with those of its scale: what a max-pool
    and dropout read and write, and what a sum reads and writes. -1, of the scale 1: the picture,
    whose values are its bytes, and the last convolution's output and the logits, which are none."""
    group = list(range(steps[-1].output + 1))
    for step in steps[:-1]:
        if step.kind != "conv":
            joined = {group[number] for number in (*step.inputs, step.output)}
            group = [min(joined) if number in joined else number for number in group]
    group[0] = group[-2] = group[-1] = -1
    return group


def is_first(step):
    return step.inputs == (0,)


# -- Parameters ------------------------------------------------------------------------------------


def scales_by_layer(steps, state, weight_scales):
    """weight_scales cut into each convolution's, by its name, in the order of the parameters."""
    found, place = {}, 0
    for step in steps:
        if step.kind == "conv":
            channels = len(state[f"{step.name}.bias"])
            found[step.name] = np.asarray(weight_scales, np.float32)[place : place + channels]
            place += channels
    assert place == len(weight_scales)
    return found


def folded(weight, bias, quantisation):
    """(v, b') in float64: the first convolution's parameters for bytes p in place of the
    normalised (p / 255 - mean[c]) / std[c]:

        v = w / (255 std[c])        b'[o] = b[o] - sum over c, kh, kw of w mean[c] / std[c]

    the sum one term after the other in that order."""
    mean = np.asarray(quantisation["mean"], np.float32).astype(np.float64)[None, :, None, None]
    std = np.asarray(quantisation["std"], np.float32).astype(np.float64)[None, :, None, None]
    weight = weight.astype(np.float64)
    terms = (weight * mean / std).reshape(len(weight), -1)
    shift = np.zeros(len(weight))
    for column in range(terms.shape[1]):
        shift = shift + terms[:, column]
    return weight / (255.0 * std), bias.astype(np.float64) - shift


def whole_weights(values, scales):
    """q = clamp(rint(v / s), -127, 127), v and s in float64, half to even; (O, I, kh, kw)."""
    quotient = values / scales.astype(np.float64)[:, None, None, None]
    return np.clip(np.rint(quotient), LEAST_WEIGHT, MOST_WEIGHT).astype(np.int64)


def whole_biases(biases, scales, input_scale):
    """B[o] = clamp(rint(b' / (s[o] S_in)), -2^30, 2^30), in float64."""
    quotient = biases / (scales.astype(np.float64) * np.float64(input_scale))
    return np.clip(np.rint(quotient), -MOST_BIAS, MOST_BIAS).astype(np.int64)


def rounded_parameters(state, spec, quantisation):
    """The parameters that a quantised model has: each weight is the float32 of q s (of
    q s 255 std[c] in the first convolution), in float64 before; biases as they are."""
    steps = steps_of(spec)
    scales = scales_by_layer(steps, state, quantisation["weight_scales"])
    std = np.asarray(quantisation["std"], np.float32).astype(np.float64)
    found = dict(state)
    for step in steps:
        if step.kind != "conv":
            continue
        key = f"{step.name}.weight"
        values, scale = state[key].astype(np.float64), scales[step.name]
        if is_first(step):
            values, _ = folded(state[key], state[f"{step.name}.bias"], quantisation)
        values = whole_weights(values, scale) * scale.astype(np.float64)[:, None, None, None]
        if is_first(step):
            values = values * 255.0 * std[None, :, None, None]
        found[key] = values.astype(np.float32)
    return found


# -- Layers, on (C, H, W) whole numbers ------------------------------------------------------------


def convolve(values, weights, biases, stride, padding):
    """sum = B[o] + the sum of q times byte. float64 carries it, exactly: it stays below 2^53."""
    outputs, inputs, kernel, _ = weights.shape
    assert inputs * kernel * kernel * MOST_WEIGHT * MOST_BYTE <= MOST_SUM
    padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding))).astype(np.float64)
    rows = (padded.shape[1] - kernel) // stride + 1
    columns = (padded.shape[2] - kernel) // stride + 1
    sums = np.zeros((outputs, rows * columns))
    for r in range(kernel):
        for s in range(kernel):
            seen = padded[
                :,
                r : r + (rows - 1) * stride + 1 : stride,
                s : s + (columns - 1) * stride + 1 : stride,
            ]
            sums += weights[:, :, r, s].astype(np.float64) @ seen.reshape(inputs, -1)
    return sums.reshape(outputs, rows, columns).astype(np.int64) + biases[:, None, None]


def requantise(sums, multipliers):
    """rint(max(min((float)sum M[o], 255), 0)): one float32 product, clamped, then rounded half to
    even. ReLU is in the clamp."""
    products = sums.astype(np.float32) * multipliers[:, None, None]
    assert products.dtype == np.float32
    return np.rint(np.maximum(np.minimum(products, np.float32(255)), np.float32(0))).astype(
        np.int64
    )


def max_pool(values, kernel=3, stride=2):
    """The largest byte of each window; windows are cut at the right and bottom edge."""
    rows, columns = (max_pool_size(size, kernel, stride) for size in values.shape[1:])
    extended = np.pad(values, ((0, 0), (0, kernel), (0, kernel)))  # 0 is below no byte
    found = np.zeros((len(values), rows, columns), np.int64)
    for r in range(kernel):
        for s in range(kernel):
            seen = extended[:, r : r + rows * stride : stride, s : s + columns * stride : stride]
            found = np.maximum(found, seen[:, :rows, :columns])
    return found


def add(a, b):
    """A simple bypass: min(a + b, 255)."""
    return np.minimum(a + b, MOST_BYTE)


def average(sums, scales, input_scale):
    """logit = (float)total L[o], total the exact sum over pixels, L[o] = (float)(s[o] S_in /
    pixels)."""
    pixels = sums.shape[1] * sums.shape[2]
    shares = (scales.astype(np.float64) * np.float64(input_scale) / pixels).astype(np.float32)
    return sums.sum(axis=(1, 2)).astype(np.float32) * shares


# -- The network -----------------------------------------------------------------------------------


def run(state, spec, quantisation, pictures):
    """(logits, maps) of uint8 pictures (N, H, W, 3): float32 (N, classes) and (N, classes, h, w).

    state: the float32 parameters by name, rounded by rounded_parameters, by which the bias of the
    first convolution is folded.
    """
    answers = [_run_one(state, spec, quantisation, picture, {}) for picture in pictures]
    return tuple(np.stack(kind) for kind in zip(*answers, strict=True))


def activations(state, spec, quantisation, picture):
    """The bytes of one picture's activations, by number."""
    values = {}
    _run_one(state, spec, quantisation, picture, values)
    return values


def _run_one(state, spec, quantisation, picture, values):
    """(logits, maps); the activations are put into `values`."""
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    steps = steps_of(spec)
    activation_scales = np.asarray(quantisation["activation_scales"], np.float32)
    scales = scales_by_layer(steps, state, quantisation["weight_scales"])
    values[0] = picture.transpose(2, 0, 1).astype(np.int64)
    maps = None
    for step in steps:
        seen = [values[number] for number in step.inputs] if step.kind != "average_pool" else []
        if step.kind == "conv":
            input_scale = activation_scales[step.inputs[0]]
            weight, bias = state[f"{step.name}.weight"], state[f"{step.name}.bias"]
            scale = scales[step.name]
            if is_first(step):
                real_weights, real_biases = folded(weight, bias, quantisation)
            else:
                real_weights, real_biases = weight.astype(np.float64), bias.astype(np.float64)
            sums = convolve(
                seen[0],
                whole_weights(real_weights, scale),
                whole_biases(real_biases, scale, input_scale),
                step.stride,
                step.padding,
            )
            if step is steps[-2]:
                if spec["final_relu"]:
                    sums = np.maximum(sums, 0)
                unit = (scale.astype(np.float64) * np.float64(input_scale)).astype(np.float32)
                maps = sums.astype(np.float32) * unit[:, None, None]
                logits = average(sums, scale, input_scale)
                continue
            output_scale = np.float64(activation_scales[step.output])
            multipliers = scale.astype(np.float64) * np.float64(input_scale) / output_scale
            result = requantise(sums, multipliers.astype(np.float32))
            if step.part == 1:
                result = np.concatenate([values[step.output], result])
            values[step.output] = result
        elif step.kind == "max_pool":
            values[step.output] = max_pool(seen[0])
        elif step.kind == "sum":
            values[step.output] = add(*seen)
        elif step.kind == "dropout":
            values[step.output] = seen[0]
    return logits, maps


# -- A quantisation to try -------------------------------------------------------------------------


def float_activations(state, spec, x):
    """The (N, C, H, W) activations of float32 pictures x, by number, in float64."""
    from oracle import conv2d

    steps = steps_of(spec)
    values = {0: x.astype(np.float64)}
    for step in steps:
        seen = [values[number] for number in step.inputs]
        if step.kind == "conv":
            weight, bias = state[f"{step.name}.weight"], state[f"{step.name}.bias"]
            relu = step is not steps[-2] or spec["final_relu"]
            result = conv2d(seen[0], weight, bias, step.stride, step.padding, relu)
            if step.part == 1:
                result = np.concatenate([values[step.output], result], axis=1)
        elif step.kind == "max_pool":
            result = np.stack([max_pool_real(picture) for picture in seen[0]])
        elif step.kind == "sum":
            result = seen[0] + seen[1]
        elif step.kind == "average_pool":
            result = seen[0].mean(axis=(2, 3))
        else:
            result = seen[0]
        values[step.output] = result
    return values


def max_pool_real(values):
    """max_pool of values that are at least 0, as behind a ReLU."""
    rows, columns = (max_pool_size(size, 3, 2) for size in values.shape[1:])
    extended = np.pad(values, ((0, 0), (0, 3), (0, 3)))
    windows = [
        extended[:, r : r + 2 * rows : 2, s : s + 2 * columns : 2][:, :rows, :columns]
        for r in range(3)
        for s in range(3)
    ]
    return np.max(windows, axis=0)


def quantisation_of(state, spec, pictures, mean, std, clip=1.0):
    """A quantisation by maxima: of each group's activations over pictures (N, H, W, 3), and of each
    output channel's weights. clip: by that share of the former and half way to it of the latter, so
    that the largest are clamped."""
    steps = steps_of(spec)
    mean, std = (np.broadcast_to(np.asarray(value, np.float32), 3) for value in (mean, std))
    x = ((pictures / 255 - mean) / std).transpose(0, 3, 1, 2)
    values, groups = float_activations(state, spec, x), groups_of(steps)
    scales = np.ones(len(groups))
    for number, group in enumerate(groups):
        if group >= 0:
            members = [i for i, other in enumerate(groups) if other == group]
            scales[number] = clip * max(values[i].max() for i in members) / MOST_BYTE or 1
    quantisation = {"mean": mean, "std": std, "activation_scales": scales.astype(np.float32)}
    weight_scales = []
    for step in steps:
        if step.kind == "conv":
            weight = state[f"{step.name}.weight"].astype(np.float64)
            if is_first(step):
                weight, _ = folded(weight, state[f"{step.name}.bias"], quantisation)
            largest = np.abs(weight).max(axis=(1, 2, 3))
            weight_scales.append(np.where(largest > 0, (1 + clip) / 2 * largest / MOST_WEIGHT, 1))
    quantisation["weight_scales"] = np.concatenate(weight_scales).astype(np.float32)
    return quantisation
