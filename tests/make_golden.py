"""Writes tests/golden/networks.json: what PyTorch says of the networks in networks.py.

Run it as `python tests/make_golden.py` where `torch==2.13.0` and the package are installed (the
package gives the tensors' names and shapes alone). test_network.py checks against the file on
machines without PyTorch, and with it too. `--seeds` looks for seeds of pictures that are off the
kinks and prints them, for networks.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import networks
import numpy as np
import torch

from squeezenet_c._native import core

TARGET = Path(__file__).parent / "golden" / "networks.json"
# Pictures are shaken by more than float32 does on its way; off the kinks a gradient then changes by
# no more than OFF_KINKS of its largest value. The test allows 1e-3.
SHAKE, OFF_KINKS = 3e-6, 1e-4
SAMPLES = 5  # of each gradient, evenly spaced


def rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.9g}") for value in np.ravel(values)]


def kink_error(name: str, seed: int | None = None) -> float:
    """How far float32 gradients are from float64 ones, and those from ones of a shaken picture."""
    network = core.Network(**networks.arguments(name))
    state = networks.weights({key: value.shape for key, value in network.state_dict().items()})
    x, labels = networks.inputs(name, seed)
    exact = networks.torch_gradients(network.spec, state, x.astype(np.float64), labels)
    random = np.random.RandomState(0)
    shaken = [x * (1 + SHAKE * random.standard_normal(x.shape)) for _ in range(4)]
    worst = 0.0
    for other in (x, *shaken):
        found = networks.torch_gradients(network.spec, state, other, labels)
        for key, value in exact.items():
            worst = max(worst, float(np.abs(found[key] - value).max() / np.abs(value).max()))
    return worst


def golden(name: str) -> dict[str, object]:
    network = core.Network(**networks.arguments(name))
    state = networks.weights({key: value.shape for key, value in network.state_dict().items()})
    x, labels = networks.inputs(name)
    logits, gradients, losses = networks.torch_run(network.spec, state, x, labels)
    return {
        "logits": rounded(logits),
        "losses": rounded(losses),
        "gradients": {
            key: {
                "norm": rounded(np.linalg.norm(value.astype(np.float64)))[0],
                "largest": rounded(np.abs(value).max())[0],
                "samples": rounded(
                    value.ravel()[np.linspace(0, value.size - 1, SAMPLES).astype(int)]
                ),
            }
            for key, value in gradients.items()
        },
    }


def main() -> None:
    torch.set_num_threads(1)
    off_kinks = [name for name in networks.NETWORKS if name not in networks.ON_KINKS]
    if "--seeds" in sys.argv:
        for name in off_kinks:
            seed = next(seed for seed in range(1000) if kink_error(name, seed) < OFF_KINKS)
            print(f"{name}: {seed}", flush=True)
        return
    for name in off_kinks:
        assert kink_error(name) < OFF_KINKS, f"{name}: its pictures are on a kink"
    result = {"torch": torch.__version__.split("+")[0]}
    result["networks"] = {name: golden(name) for name in networks.NETWORKS}
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
