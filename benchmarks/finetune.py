"""Fine-tuning ImageNet's weights on the PALM photographs: how good, and how long beside PyTorch.

    python benchmarks/finetune.py PALM_FOLDER WEIGHTS [--seeds 5] [--peer-seeds 5] [--epochs 20]

Each run is a process of its own that reads the photographs, trains with the defaults, looks at the
validation set after every epoch as `train` does, and answers for it with the last epoch's weights:
nothing is chosen on it. A training picture that is a validation picture too is left out.

PyTorch (channels_last) has the same photographs decoded once by Pillow, the same weights to start
from, batches of the same size, flips, dropout, Adam and learning rates; its random numbers are its
own. The first --peer-seeds seeds are run by it too, by turns. A time is a whole process's.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import measure
import numpy as np

RESAMPLES = 2000
T_QUANTILE = {3: 4.303, 5: 2.776, 10: 2.262}  # Student's, 97.5 %, by number of runs
BATCH = 16

# -- A run, in a process of its own ----------------------------------------------------------------


def pretrained(weights: str, seed: int) -> Any:
    """A sq.Model to fine-tune."""
    import squeezenet_c as sq

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the head is replaced
        return sq.Model.from_pretrained(weights, num_classes=2, seed=seed)


def run_ours(job: dict[str, Any]) -> list[float]:
    """Probabilities of class 1 of the validation pictures."""
    import squeezenet_c as sq

    train = sq.Dataset.from_list(job["train"])
    valid = sq.Dataset.from_list(job["valid"])
    model = pretrained(job["weights"], job["seed"])
    sq.train(model, train, valid, epochs=job["epochs"], seed=job["seed"], progress=False)
    return model.predict_proba(valid)[:, 1].tolist()


def run_pytorch(job: dict[str, Any]) -> list[float]:
    """The same by PyTorch."""
    import torch
    from peers import pytorch
    from PIL import Image

    layout = torch.channels_last
    random = np.random.default_rng(job["seed"])
    torch.manual_seed(job["seed"])
    mean, std = (torch.tensor(job[name]).reshape(1, 3, 1, 1) for name in ("mean", "std"))
    spec = {"version": job["arch"], "bypass": None, "final_relu": False}

    def read(path: str) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [line.rsplit(" ", 1) for line in Path(path).read_text("utf-8").splitlines()]
        pictures = np.stack([np.asarray(Image.open(name).convert("RGB")) for name, _ in rows])
        labels = torch.tensor([int(label) for _, label in rows])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2), labels

    def normalised(pictures: torch.Tensor) -> torch.Tensor:
        return ((pictures.float() / 255 - mean) / std).contiguous(memory_format=layout)

    def flipped(pictures: torch.Tensor) -> torch.Tensor:
        sides = random.integers(0, 2, (len(pictures), 2))
        turns = [[axis for axis in (1, 2) if row[axis - 1]] for row in sides]
        return torch.stack([torch.flip(p, t) for p, t in zip(pictures, turns, strict=True)])

    def probabilities() -> torch.Tensor:
        with torch.inference_mode():
            parts = [
                pytorch.networks.torch_forward(state, normalised(part), spec)
                for part in valid.split(32)
            ]
        return torch.cat(parts).softmax(1)[:, 1]

    train, labels = read(job["train"])
    valid, _ = read(job["valid"])
    state = {}
    with np.load(job["state"]) as file:
        for name, value in file.items():
            tensor = torch.from_numpy(value)
            tensor = tensor.contiguous(memory_format=layout) if value.ndim == 4 else tensor
            state[name] = tensor.requires_grad_(True)
    head = {name for name in state if name.startswith("classifier")}
    groups = [
        {"params": [state[name] for name in state if (name in head) == is_head], "scale": scale}
        for is_head, scale in ((True, 1.0), (False, job["body_lr_scale"]))
    ]
    optimizer = torch.optim.Adam(groups)
    rates = iter(job["rates"])
    for _ in range(job["epochs"]):
        for picked in torch.from_numpy(random.permutation(len(train))).split(BATCH):
            x = normalised(flipped(train[picked]))
            side = pytorch.last_side(job["arch"], x.shape[-1])
            mask = torch.nn.functional.dropout(torch.ones(len(x), 512, side, side), 0.5)
            rate = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            optimizer.zero_grad()
            logits = pytorch.networks.torch_forward(state, x, spec, mask)
            torch.nn.functional.cross_entropy(logits, labels[picked]).backward()
            optimizer.step()
        scores = probabilities()
    return scores.tolist()


RUNS = {"ours": run_ours, "PyTorch": run_pytorch}

# -- The runs --------------------------------------------------------------------------------------


def run(who: str, job: dict[str, Any]) -> tuple[np.ndarray, float]:
    """(scores, seconds of the whole process)."""
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, __file__, "--run", who, json.dumps(job)],
        env=measure.environment(),
        cwd=Path(__file__).resolve().parent,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"{who}: {result.stderr.strip().splitlines()[-1]}")
    return np.array(json.loads(result.stdout.splitlines()[-1])), seconds


def jobs_of(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """(a job a seed, the validation labels); the lists and the peers' weights are in `folder`."""
    import squeezenet_c as sq

    train, valid = sq.palm.load(Path(options.data).resolve())
    leaks = sq.check_data(train, valid).leaks
    both = {path for pair in leaks for path in (pair.first, pair.second)}
    for path in both & set(train.paths):
        print(f"left out of training: {Path(path).name}, which is a validation picture too")
    train = train.subset([i for i, path in enumerate(train.paths) if path not in both])
    train.write_list(folder / "train.txt")
    valid.write_list(folder / "valid.txt")
    jobs = []
    for seed in range(options.seeds):
        model = pretrained(options.weights, seed)
        np.savez(folder / f"{seed}.npz", **model.state_dict())
        recipe, steps = model.recipe, math.ceil(len(train) / BATCH)
        jobs.append(
            {
                "train": str(folder / "train.txt"),
                "valid": str(folder / "valid.txt"),
                "weights": str(Path(options.weights).resolve()),
                "state": str(folder / f"{seed}.npz"),
                "arch": model.version,
                "mean": model.preprocessing.mean,
                "std": model.preprocessing.std,
                "rates": [
                    recipe.rate(step, steps, options.epochs)
                    for step in range(steps * options.epochs)
                ],
                "body_lr_scale": recipe.body_lr_scale,
                "epochs": options.epochs,
                "seed": seed,
            }
        )
    print(f"{len(train)} training and {len(valid)} validation pictures; {recipe}")
    return jobs, valid.labels


# -- What is said ----------------------------------------------------------------------------------


def figures(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """(accuracy, AUC)."""
    from squeezenet_c.inference.metrics import auc

    return float(((scores > 0.5) == labels).mean()), auc(labels == 1, scores) or math.nan


def say(who: str, labels: np.ndarray, runs: list[np.ndarray], seconds: list[float]) -> None:
    """The mean over the runs, its interval over seeds (Student's t) and over pictures (percentile
    bootstrap: pictures drawn anew, the mean of all runs on them)."""
    each = np.array([figures(labels, scores) for scores in runs])
    random = np.random.default_rng(0)
    draws = []
    while len(draws) < RESAMPLES:
        drawn = random.integers(0, len(labels), len(labels))
        if len(np.unique(labels[drawn])) == 2:
            draws.append(np.mean([figures(labels[drawn], run[drawn]) for run in runs], axis=0))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for column, name in enumerate(("accuracy", "AUC")):
        values = each[:, column]
        line = f"{who} {name}: mean {values.mean():.4f} of {len(runs)} seeds"
        if len(runs) in T_QUANTILE:
            half = T_QUANTILE[len(runs)] * values.std(ddof=1) / math.sqrt(len(runs))
            line += f", over seeds +- {half:.4f}"
        print(f"{line}, over pictures {low[column]:.4f} to {high[column]:.4f}")
    print(f"{who} seconds: median {statistics.median(seconds):.1f}", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(RUNS[sys.argv[2]](json.loads(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="PALM_FOLDER")
    parser.add_argument("weights", metavar="WEIGHTS", help="of SqueezeNet v1.0 or v1.1")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, default=5, help="0: PyTorch is not run")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    runs: dict[str, list[np.ndarray]] = {who: [] for who in RUNS}
    seconds: dict[str, list[float]] = {who: [] for who in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        jobs, labels = jobs_of(options, Path(folder))
        for job in jobs:
            for who in RUNS if job["seed"] < options.peer_seeds else ("ours",):
                scores, took = run(who, job)
                runs[who].append(scores)
                seconds[who].append(took)
                accuracy, area = figures(labels, scores)
                print(
                    f"{who} seed {job['seed']}: accuracy {accuracy:.4f}, AUC {area:.4f}, "
                    f"{took:.1f} s",
                    flush=True,
                )
    for who in RUNS:
        if runs[who]:
            say(who, labels, runs[who], seconds[who])
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["PyTorch"], strict=False)]
    if ratios:
        print(
            f"PyTorch's seconds over ours, pair by pair: median {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
