"""Writes tests/golden/networks.json: what PyTorch says of the networks in networks.py.

Run it as `python tests/make_golden.py` where `torch==2.13.0` and the package are installed (the
package gives the tensors' names and shapes alone). test_network.py checks against the file on
machines without PyTorch, and with it too. `--only NAME`, for a network that was added or changed,
leaves the others as they stand in the file. `--seeds` looks for seeds of pictures that are off the
kinks and prints them, for networks.py, of one network with `--only`.
"""

from __future__ import annotations

import argparse
import json
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


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", choices=networks.NETWORKS, help="one network")
    parser.add_argument("--seeds", action="store_true", help="find seeds off the kinks, print them")
    return parser.parse_args()


def others(name: str, version: str) -> dict[str, object]:
    """The file's networks but `name`, which must be by the same PyTorch."""
    written = json.loads(TARGET.read_text(encoding="utf-8"))
    if written["torch"] != version:
        raise SystemExit(
            f"{TARGET} is by torch {written['torch']}, this is {version}: make it without --only"
        )
    return {key: value for key, value in written["networks"].items() if key != name}


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    names = [options.only] if options.only else list(networks.NETWORKS)
    off_kinks = [name for name in names if name not in networks.ON_KINKS]
    if options.seeds:
        for name in off_kinks:
            seed = next(seed for seed in range(1000) if kink_error(name, seed) < OFF_KINKS)
            print(f"{name}: {seed}", flush=True)
        return
    version = torch.__version__.split("+")[0]
    made = others(options.only, version) if options.only else {}
    for name in off_kinks:
        assert kink_error(name) < OFF_KINKS, f"{name}: its pictures are on a kink"
    made |= {name: golden(name) for name in names}
    known = [name for name in networks.NETWORKS if name in made]  # in their order there
    result = {"torch": version, "networks": {name: made[name] for name in known}}
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
