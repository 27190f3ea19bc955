"""Finds the children of a process, because servers such as PostgreSQL consist of several processes."""

from pathlib import Path


def family(pid: int) -> list[int]:
    """Return `pid` and the ids of its child processes; PostgreSQL's server has one for each connection."""
    return [pid, *(child for child, parent in parents() if parent == pid)]


def parents() -> list[tuple[int, int]]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # the process has just ended
            continue
        found.append((int(stat.parent.name), int(fields[1])))
    return found
