"""What test_mpi.py runs, alone or under mpirun: python mpi_runs.py PICTURES RESULTS [mpi]

Writes what each scenario ended in to the JSON file RESULTS, by rank 0; all ranks compare their
endings.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import squeezenet_c as sq

folder, results = Path(sys.argv[1]), Path(sys.argv[2])
comm = None
if len(sys.argv) > 3:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
else:
    assert "mpi4py" not in sys.modules

SIDE = 64
dataset = sq.Dataset.from_folder(folder, image_size=SIDE)
TRAIN, VALID = dataset.split(0.25)  # 33 and 11
FEW = TRAIN.subset([0, 20, 1])
ADDED = [*range(12), 30, 31]  # of two classes, unevenly
BEST = results.with_suffix(".safetensors")

decoded = [0]
batches = sq.Dataset.batches


def counted(self, *arguments):
    for indices, pictures in batches(self, *arguments):
        decoded[0] += len(pictures)
        yield indices, pictures


sq.Dataset.batches = counted


def everybody(value):
    return [value] if comm is None else comm.allgather(value)


def digest(*arrays):
    joined = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(joined).hexdigest()


def network(**options):
    return sq.Model("1_1", 2, seed=1, image_size=SIDE, **options)


def trained(train, valid, **options):
    """One run: its last weights, its history, the checkpoint."""
    model = network()
    decoded[0] = 0
    given = {"epochs": 2, "batch_size": 16, "checkpoint": BEST, "progress": False, **options}
    history = sq.train(model, train, valid, comm=comm, **given)
    counts = sum(everybody(decoded[0]))
    rows = [(r.epoch, r.train_loss, r.train_acc, r.valid_loss, r.valid_acc, r.lr) for r in history]
    best = digest(*sq.Model.load(BEST).state_dict().values()) if not (comm and comm.rank) else ""
    held_out = history.held_out and history.held_out.to_dict()
    said = (digest(*model.state_dict().values()), rows, held_out, history.collapsed)
    assert len(set(map(str, everybody(said)))) == 1, "ranks end differently"
    return {"said": said, "best": best, "decoded": counts}


def judged():
    """What is said of pictures by a network that can be any."""
    model = network(class_names=VALID.class_names)
    found = {
        "proba": digest(sq.predict_proba(model, VALID, 4, comm=comm)),
        "paths": digest(sq.predict_proba(model, VALID.paths, comm=comm)),
        "arrays": digest(model.predict_proba([VALID[i][0] for i in range(3)], comm=comm)),
        "one": sq.predict(model, VALID.paths[0], comm=comm).confidence,
        "answers": [answer.label for answer in model.predict(VALID.paths, 2, comm=comm)],
        "evaluated": model.evaluate(VALID, comm=comm).to_dict(),
        "threshold": model.choose_threshold(VALID, comm=comm),
    }
    assert len(set(map(str, everybody(found)))) == 1, "ranks answer differently"
    return found


endings = {
    "plain": trained(TRAIN, VALID, early_stopping=1, epochs=3),
    # 33 pictures: four batches of 7 and one of 5
    "all options": trained(
        TRAIN,
        VALID,
        batch_size=7,
        class_weights="balanced",
        label_smoothing=0.1,
        freeze=["features.0", "features.6.squeeze", "classifier.1.bias"],
        body_lr_scale=0.5,
        weight_decay=0.05,
        recipe=sq.Recipe(1e-3, 0.5, schedule="plateau", factor=0.5, patience=0),
    ),
    "weights": trained(
        TRAIN.subset(ADDED),
        VALID,
        batch_size=14,
        class_weights="balanced",
        optimizer="sgd",
        lr=0.01,
        clip_norm=1.0,
        ema=0.9,
        monitor="auc",
    ),
    "bfloat16": trained(
        dataset, VALID, batch_size=40, precision="bfloat16", valid_fraction=0.3, calibrate=True
    ),
    "few pictures, no validation": trained(FEW, None, batch_size=2),
    "judged": judged(),
}
if comm is None or comm.rank == 0:
    results.write_text(json.dumps(endings))
