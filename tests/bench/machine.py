"""What the figures were measured on."""

import os
import platform
import tempfile
import time
from pathlib import Path


def fsyncs_per_second(folder: Path, seconds: float = 1.0) -> float:
    """How often a page of 8 kB can be appended and forced to the disk that `folder` lies on."""
    page = os.urandom(8192)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        done = 0
        while time.perf_counter() - began < seconds:
            os.write(file.fileno(), page)
            os.fdatasync(file.fileno())
            done += 1
        return done / (time.perf_counter() - began)


def description() -> str:
    """Cores, memory and Python in one line; nothing that names the machine."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    load = os.getloadavg()[0]
    return (
        f"{cores} cores, {memory:.0f} GB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load average at the start {load:.1f}"
    )
