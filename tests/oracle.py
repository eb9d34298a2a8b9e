"""A slow, obvious reference for every op, in float64 NumPy.

Written to be checked by eye, not to be fast: loops over taps and windows are allowed. Shapes are
torch's: pictures (N, C, H, W) for convolution, (C, H, W) for all else. Nothing here imports the
package.
"""

import math

import numpy as np

# -- Convolution -----------------------------------------------------------------------------------


def pair(value):
    """An int, or (rows, columns), as (rows, columns)."""
    return value if isinstance(value, tuple) else (value, value)


def _taps(height, width, weight, stride, padding):
    """For every tap (r, s) of the kernel, the slices of the padded picture that it reads."""
    stride, padding = pair(stride), pair(padding)
    rows = (height + 2 * padding[0] - weight.shape[2]) // stride[0] + 1
    columns = (width + 2 * padding[1] - weight.shape[3]) // stride[1] + 1
    for r in range(weight.shape[2]):
        for s in range(weight.shape[3]):
            yield (
                r,
                s,
                slice(r, r + (rows - 1) * stride[0] + 1, stride[0]),
                slice(s, s + (columns - 1) * stride[1] + 1, stride[1]),
            )


def _pad(x, padding):
    rows, columns = pair(padding)
    return np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))


def _mix(matrix, x):
    """matrix[k, c] times the channels of x[n, c, h, w], at every pixel: [n, k, h, w]."""
    n, channels, height, width = x.shape
    mixed = matrix @ x.reshape(n, channels, height * width)
    return mixed.reshape(n, len(matrix), height, width)


def conv2d(x, weight, bias, stride=1, padding=0, relu=False):
    """y[n, k, p, q] = bias[k] + the sum over c, r, s of
    weight[k, c, r, s] x[n, c, p u + r, q v + s], with strides (u, v)."""
    x, weight, bias = (np.asarray(a, np.float64) for a in (x, weight, bias))
    padded = _pad(x, padding)
    y = bias[None, :, None, None]
    for r, s, rows, columns in _taps(*x.shape[2:], weight, stride, padding):
        y = y + _mix(weight[:, :, r, s], padded[:, :, rows, columns])
    return np.maximum(y, 0) if relu else y


def conv2d_backward(x, weight, dy, y=None, stride=1, padding=0):
    """(dx, dw, db) for the loss sum(dy * conv2d(...)); y: its result if it ended in a ReLU."""
    x, weight, dy = (np.asarray(a, np.float64) for a in (x, weight, dy))
    if y is not None:
        dy = np.where(np.asarray(y) > 0, dy, 0.0)
    padded = _pad(x, padding)
    d_padded = np.zeros_like(padded)
    dw = np.zeros_like(weight)
    for r, s, rows, columns in _taps(*x.shape[2:], weight, stride, padding):
        seen = padded[:, :, rows, columns]
        dw[:, :, r, s] = np.tensordot(dy, seen, axes=((0, 2, 3), (0, 2, 3)))
        d_padded[:, :, rows, columns] += _mix(weight[:, :, r, s].T, dy)
    top, left = pair(padding)
    dx = d_padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return dx, dw, dy.sum(axis=(0, 2, 3))


# -- ReLU ------------------------------------------------------------------------------------------


def relu_backward(dy, y):
    """(dx, db): the gradient behind a ReLU that gave y, and its sum over pixels."""
    dx = np.where(np.asarray(y) > 0, np.asarray(dy, np.float64), 0.0)
    return dx, dx.sum(axis=(1, 2))


# -- Pooling ---------------------------------------------------------------------------------------


def max_pool_size(size, kernel, stride):
    """As torch.nn.MaxPool2d(ceil_mode=True) without padding: round up, but no window may start past
    the end. 0 where torch finds no window to begin with."""
    out = math.ceil((size - kernel) / stride) + 1
    if (out - 1) * stride >= size:
        out -= 1
    return max(out, 0)


def max_pool2d(x, kernel, stride):
    """(y, argmax): windows are cut at the right and bottom edge; argmax is row * kernel + column
    of the first largest within its window."""
    x = np.asarray(x, np.float64)
    channels, height, width = x.shape
    rows, columns = max_pool_size(height, kernel, stride), max_pool_size(width, kernel, stride)
    y = np.empty((channels, rows, columns))
    argmax = np.empty((channels, rows, columns), np.uint8)
    for c in range(channels):
        for p in range(rows):
            for q in range(columns):
                top, left = p * stride, q * stride
                window = x[c, top : top + kernel, left : left + kernel]
                row, column = divmod(int(np.argmax(window)), window.shape[1])  # the first
                y[c, p, q] = window[row, column]
                argmax[c, p, q] = row * kernel + column
    return y, argmax


def max_pool2d_backward(dy, argmax, height, width, kernel, stride):
    """Each window's gradient goes to its winner; windows may overlap."""
    dx = np.zeros((dy.shape[0], height, width))
    for c, p, q in np.ndindex(*dy.shape):
        row, column = divmod(int(argmax[c, p, q]), kernel)
        dx[c, p * stride + row, q * stride + column] += dy[c, p, q]
    return dx


def average_pool(x):
    """(C, H, W) to (C,)."""
    return np.asarray(x, np.float64).mean(axis=(1, 2))


def average_pool_backward(dy, height, width):
    """(C,) to (C, H, W)."""
    share = np.asarray(dy, np.float64) / (height * width)
    return np.broadcast_to(share[:, None, None], (len(dy), height, width))


# -- Random numbers --------------------------------------------------------------------------------

# Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3:
# multipliers of Philox4x32, and the Weyl constants by which the key grows from round to round.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter, key):
    """Philox4x32-10: four 32-bit numbers from four and two. Arrays are taken element by element."""
    low32 = np.uint64(0xFFFFFFFF)
    c = [np.asarray(word, np.uint64) for word in counter]
    k = [np.asarray(word, np.uint64) for word in key]
    for _ in range(10):
        left = c[0] * np.uint64(_MULTIPLIERS[0])  # 32 x 32 bits fit into 64
        right = c[2] * np.uint64(_MULTIPLIERS[1])
        c = [
            (right >> np.uint64(32)) ^ c[1] ^ k[0],
            right & low32,
            (left >> np.uint64(32)) ^ c[3] ^ k[1],
            left & low32,
        ]
        k = [(word + np.uint64(weyl)) & low32 for word, weyl in zip(k, _WEYL, strict=True)]
    return [word.astype(np.uint32) for word in c]


# -- Dropout ---------------------------------------------------------------------------------------

DROPOUT_PURPOSE = 4


def dropout_mask(shape, probability, seed, step, picture):
    """uint8 (C, H, W), 1 where kept. One Philox block serves eight channels of a pixel, with the
    counter {(c / 8) pixels + p, picture, step's low half, 4 + 16 * step's high half}; a channel's
    draw is 16 bits of it, and it is kept if that is at least round(65536 * probability)."""
    channels, height, width = shape
    pixels = height * width
    c, p = np.meshgrid(np.arange(channels), np.arange(pixels), indexing="ij")
    counter = (
        c // 8 * pixels + p,
        picture,
        step & 0xFFFFFFFF,
        (DROPOUT_PURPOSE + ((step >> 32) << 4)) & 0xFFFFFFFF,
    )
    out = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    within = c % 8
    words = np.choose(within // 2, out)
    draws = np.where(within % 2 == 0, words & 0xFFFF, words >> 16)
    return (draws >= int(probability * 65536 + 0.5)).astype(np.uint8).reshape(shape)


def dropout(x, mask, probability):
    """Forward and backward are the same."""
    return np.asarray(x, np.float64) * mask / (1 - probability)


# -- Loss, optimizer -------------------------------------------------------------------------------


def cross_entropy(logits, label):
    """(loss, d_logits) of one picture."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max())
    softmax = shifted / shifted.sum()
    loss = math.log(shifted.sum()) + (logits.max() - logits[label])
    return loss, softmax - (np.arange(len(logits)) == label)


class Adam:
    """Algorithm 1 of Kingma & Ba 2015 (arXiv:1412.6980) on one float64 array, without a copy:
    `parameters` changes in place."""

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.parameters = parameters
        self.lr, self.betas, self.eps = lr, betas, eps
        self.m = np.zeros_like(parameters)
        self.v = np.zeros_like(parameters)
        self.steps = 0

    def step(self, gradient):
        beta1, beta2 = self.betas
        self.steps += 1
        self.m = beta1 * self.m + (1 - beta1) * gradient
        self.v = beta2 * self.v + (1 - beta2) * gradient**2
        m_hat = self.m / (1 - beta1**self.steps)
        v_hat = self.v / (1 - beta2**self.steps)
        self.parameters -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


# -- Finite differences ----------------------------------------------------------------------------


def derivative(loss, at, direction, step):
    """The derivative of loss(at) along `direction`, by central difference: (f(+h) - f(-h)) / 2h.
    Exact up to rounding where loss is linear or quadratic."""
    return (loss(at + step * direction) - loss(at - step * direction)) / (2 * step)
