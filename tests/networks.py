"""What the network tests share: the networks they try, their inputs, and SqueezeNet in PyTorch.

Everything a golden number depends on comes from numpy.random.RandomState, whose streams NumPy has
frozen (NEP 19), so that the numbers can be made on one machine and checked on another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# name -> (arguments of Network, (batch, height, width), seed of the pictures). Dropout is off:
# PyTorch has no access to our masks (test_network.py tries dropout with masks made by the oracle).
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int], int]] = {
    "1_0": ({"version": "1_0", "num_classes": 2}, (3, 64, 72), 15),
    "1_1": ({"version": "1_1", "num_classes": 2}, (3, 72, 64), 24),
    "1_0 four classes, final ReLU": (
        {"version": "1_0", "num_classes": 4, "final_relu": True},
        (2, 80, 57),
        13,
    ),
    "1_1 simple bypass": (
        {"version": "1_1", "num_classes": 3, "bypass": "simple"},
        (3, 49, 66),
        14,
    ),
    "1_0 complex bypass": (
        {"version": "1_0", "num_classes": 5, "bypass": "complex"},
        (2, 63, 63),
        12,
    ),
    "1_1 odd channel counts": (
        {
            "version": "1_1",
            "num_classes": 7,
            "squeeze_ratio": 0.11,
            "pct_3x3": 0.37,
            "base_e": 45,
            "incr_e": 19,
        },
        (2, 60, 81),
        0,
    ),
    "1_0 odd channel counts, complex bypass": (
        {
            "version": "1_0",
            "num_classes": 3,
            "bypass": "complex",
            "squeeze_ratio": 0.3,
            "pct_3x3": 0.8,
            "base_e": 30,
            "incr_e": 21,
        },
        (2, 70, 60),
        0,
    ),
    "1_0 at 224": ({"version": "1_0", "num_classes": 2}, (2, 224, 224), 0),
    "1_1 at 224": ({"version": "1_1", "num_classes": 2}, (2, 224, 224), 0),
}
ON_KINKS = ("1_0 at 224", "1_1 at 224")  # see inputs
STEPS = 20
# Low enough that no loss comes near 0, where the least difference is large beside it.
LEARNING_RATE = 2e-5


def arguments(name: str) -> dict[str, Any]:
    """The Network arguments of one of NETWORKS, without dropout."""
    return {**NETWORKS[name][0], "dropout": 0.0}


def weights(shapes: dict[str, tuple[int, ...]], seed: int = 5) -> dict[str, np.ndarray]:
    """Weights that keep activations alive, biases that are not zero.

    The last convolution is small, as a fresh one is, and a bypass adds no more than it must: the
    first losses are near ln(classes), and 20 steps of Adam are no lottery.
    """
    random = np.random.RandomState(seed)
    state = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            state[name] = (0.05 * random.standard_normal(shape)).astype(np.float32)
        else:
            fan_in = shape[1] * shape[2] * shape[3]
            scale = np.sqrt(2 / fan_in)
            scale *= 0.01 if name.startswith("classifier") else 0.3 if "bypass" in name else 1
            state[name] = (scale * random.standard_normal(shape)).astype(np.float32)
    return state


def inputs(name: str, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """x (N, 3, H, W) float32, waves and a little noise, and labels (N,) of one of NETWORKS.

    A ReLU or max-pool that sits on its kink goes one way in one arithmetic and the other way in
    another, and moves a gradient by about 1e-3 of its size. The seeds in NETWORKS give pictures
    that are off the kinks (make_golden.py checks it, and `--seeds` finds such), so that what is
    compared is arithmetic. At 224 x 224 there are millions of kinks and no such pictures: PyTorch
    on one thread and PyTorch on two differ by 4e-3 of a gradient there.
    """
    spec, (n, h, w), chosen = NETWORKS[name]
    random = np.random.RandomState(chosen if seed is None else seed)
    rows, columns = np.mgrid[:h, :w] / 64
    x = 0.1 * random.uniform(-1, 1, (n, 3, h, w))
    for _ in range(2):
        across, down, phase = random.uniform(-3, 3, (3, n, 3, 1, 1))
        x += 0.45 * np.sin(across * columns + down * rows + phase)
    return x.astype(np.float32), np.arange(n) % spec["num_classes"]


def torch_forward(state: dict[str, Any], x: Any, spec: dict[str, Any], mask: Any = None) -> Any:
    """Logits of torchvision's SqueezeNet, with the paper's bypasses. state and x hold tensors.

    mask: what dropout multiplies features by, (N, C, H, W), or None.
    """
    import torch
    from torch.nn import functional

    def conv(layer: str, values: Any, stride: int = 1, padding: int = 0) -> Any:
        return functional.conv2d(
            values, state[f"{layer}.weight"], state[f"{layer}.bias"], stride, padding
        )

    def fire(layer: str, values: Any, index: int) -> Any:
        squeezed = conv(f"{layer}.squeeze", values).relu_()
        expand1x1 = conv(f"{layer}.expand1x1", squeezed).relu_()
        expand3x3 = conv(f"{layer}.expand3x3", squeezed, padding=1).relu_()
        expanded = torch.cat([expand1x1, expand3x3], 1)
        if spec["bypass"] and index % 2 == 1:
            return expanded + values
        if spec["bypass"] == "complex":
            return expanded + conv(f"{layer}.bypass", values)
        return expanded

    def pool(values: Any) -> Any:
        return functional.max_pool2d(values, 3, 2, ceil_mode=True)

    pools = (2, 6) if spec["version"] == "1_0" else (1, 3)
    values = pool(conv("features.0", x, stride=2).relu_())
    feature = 3
    for index in range(8):
        values = fire(f"features.{feature}", values, index)
        feature += 1
        if index in pools:
            values = pool(values)
            feature += 1
    if mask is not None:
        values = values * mask
    maps = conv("classifier.1", values)
    if spec["final_relu"]:
        maps = maps.relu_()
    return maps.mean((2, 3))


def torch_run(
    spec: dict[str, Any],
    state: dict[str, np.ndarray],
    x: np.ndarray,
    labels: np.ndarray,
    steps: int = STEPS,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """logits, gradients by name, and the losses of `steps` Adam steps, by PyTorch."""
    import torch

    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in state.items()}
    x, labels = torch.tensor(x), torch.tensor(labels, dtype=torch.int64)
    mask = None if mask is None else torch.tensor(mask)
    optimizer = torch.optim.Adam(tensors.values(), lr=LEARNING_RATE)
    losses, first = [], None
    for _ in range(max(steps, 1)):
        optimizer.zero_grad()
        logits = torch_forward(tensors, x, spec, mask)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        losses.append(loss.item())
        if first is None:
            gradients = {key: value.grad.numpy().copy() for key, value in tensors.items()}
            first = (logits.detach().numpy().copy(), gradients)
        optimizer.step()
    return first[0], first[1], np.array(losses[:steps])


def torch_gradients(
    spec: dict[str, Any], state: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Gradients by name, by PyTorch, in the precision of x."""
    import torch

    kind = torch.float64 if x.dtype == np.float64 else torch.float32
    tensors = {
        key: torch.tensor(value, dtype=kind, requires_grad=True) for key, value in state.items()
    }
    logits = torch_forward(tensors, torch.tensor(x), spec)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    return {key: value.grad.numpy() for key, value in tensors.items()}


def check_loss_is_torchs(
    model: Any,
    loss: float,
    target: np.ndarray,
    smoothing: float,
    weights: list[float] | None,
    temperature: float = 1.0,
) -> None:
    """The loss of the model's last batch, and the gradients of its last layer's bias, which reaches
    every logit with factor 1. target: labels or probabilities."""
    import pytest
    import torch

    logits = torch.tensor(model.last_logits, dtype=torch.float64, requires_grad=True)
    expected = temperature**2 * torch.nn.functional.cross_entropy(
        logits / temperature,
        torch.tensor(target),
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        label_smoothing=smoothing,
    )
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    np.testing.assert_allclose(
        model.gradients["classifier.1.bias"], logits.grad.sum(0).numpy(), rtol=1e-5, atol=1e-7
    )
