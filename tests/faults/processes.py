"""Whole families of processes, for servers that fork."""

from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and its children, as PostgreSQL's server and the processes of its connections."""
    return [pid, *(child for child, parent in parents() if parent == pid)]


def parents() -> list[tuple[int, int]]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found.append((int(stat.parent.name), int(fields[1])))
    return found
