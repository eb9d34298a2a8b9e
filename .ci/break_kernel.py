"""python break_kernel.py FOLDER BACKEND: break one backward kernel in a copy of the source.

The op tests have to notice. The text that is replaced must be there exactly once, so that a change
of the kernel cannot make this a no-op.
"""

import sys
from pathlib import Path

# backend: (file, what it says, what it shall say)
BREAKS = {
    # The gradient that is already there is forgotten when another is added to it.
    "onednn": (
        "csrc/ops/onednn.c",
        "state->ops->sum(d_src, d_src, target, src_count(conv));",
        "state->ops->sum(d_src, target, target, src_count(conv));",
    ),
    # The gradient of the weights has the wrong sign.
    "openmp": (
        "csrc/ops/openmp/kernels/conv_backward_weights.c",
        "sums[b][r] += d[b] * value;",
        "sums[b][r] -= d[b] * value;",
    ),
}


def main() -> None:
    folder, backend = sys.argv[1:]
    name, before, after = BREAKS[backend]
    path = Path(folder, name)
    text = path.read_text(encoding="utf-8")
    if text.count(before) != 1:
        sys.exit(f"{name} has {text.count(before)} times {before!r}, expected once")
    path.write_text(text.replace(before, after), encoding="utf-8")
    print(f"{name}: {before} -> {after}")


if __name__ == "__main__":
    main()
