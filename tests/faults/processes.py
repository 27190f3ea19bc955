"""Functions for a process and its children, because servers such as PostgreSQL fork."""

from pathlib import Path


def family(pid: int) -> list[int]:
    """Return the ids of a process and its children, such as PostgreSQL's server and its connections' processes."""
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
