"""How much memory this process has and has had at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def _of_status(key: str) -> float | None:
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024  # "kB", which are KiB
    return None


def peak_mib() -> float:
    """The greatest so far. Linux's ru_maxrss would begin with the parent's, from before exec; what
    /proc has is this program's own."""
    peak = _of_status("VmHWM")
    if peak is None:
        scale = 2**20 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return peak


def resident_mib() -> float:
    """Now; where that cannot be known, the greatest so far."""
    resident = _of_status("VmRSS")
    return peak_mib() if resident is None else resident
