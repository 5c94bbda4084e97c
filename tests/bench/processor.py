"""Processor time that processes have used: what a figure costs, whoever else uses the machine meanwhile."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def spent(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds that these processes, their threads and all that they started have used so far, by the given names."""
    return {name: _of_family(pid) for name, pid in pids.items()}


def _of_family(pid: int) -> float:
    seconds = 0.0
    with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended: its parent has its time
        # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: utime, stime and those of children waited for
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:15]
        seconds = sum(map(int, ticks)) / _TICKS
        for thread in Path(f"/proc/{pid}/task").iterdir():
            seconds += sum(_of_family(int(child)) for child in (thread / "children").read_text().split())
    return seconds
