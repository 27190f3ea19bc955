"""Keeps Stripe's objects as JSON by type and id, and reads and writes the file in which they outlast a restart.

When there are too many objects of a type, the oldest are deleted.
"""

import copy
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from stripe_sandbox.errors import no_such
from stripe_sandbox.ids import PREFIXES, kind_of, new_id

Json = dict[str, Any]

# How many objects of each type are kept; a day of 1,000 payments makes about 5,000 events (35 MB).
LIMIT = 5_000
LIMITS = {"event": 10_000, "webhook_endpoint": 50}


def _blank(kind: str) -> Json:
    blank: Json = json.loads((resources.files(__package__) / "objects" / f"{kind}.json").read_text())
    return blank


class Store:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {kind: {} for kind in PREFIXES}
        # By object id: data that the API doesn't show, such as a session's line items or an endpoint's secrets.
        self.private: dict[str, Json] = {}
        self._blanks = {kind: _blank(kind) for kind in PREFIXES}

    def new(self, kind: str, created: int, **values: Any) -> Json:
        """Store and return a new object of type `kind` that has all of Stripe's keys.

        `created` (Unix seconds) and `values` replace the defaults.
        """
        made: Json = copy.deepcopy(self._blanks[kind]) | {"id": new_id(kind)}
        if "created" in made:
            made["created"] = created
        made |= values
        self.add(made)
        return made

    def add(self, made: Json) -> None:
        kept = self.objects[made["object"]]
        kept[made["id"]] = made
        while len(kept) > LIMITS.get(made["object"], LIMIT):
            self.remove(next(iter(kept.values())))

    def remove(self, found: Json) -> None:
        del self.objects[found["object"]][found["id"]]
        self.private.pop(found["id"], None)

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """Return the stored object itself, not a copy.

        Raises StripeError resource_missing if there is none; the error names `param` as the wrong request parameter.
        """
        try:
            return self.objects[kind][object_id]
        except KeyError:
            raise no_such(kind, object_id, param) from None

    def find(self, object_id: str) -> Json | None:
        kind = kind_of(object_id)
        return self.objects[kind].get(object_id) if kind else None

    def select(self, kind: str, **fields: Any) -> Iterator[Json]:
        """Return an iterator over the objects of type `kind` whose fields have the values of `fields`, newest first."""
        newest_first = reversed(list(self.objects[kind].values()))
        return (found for found in newest_first if all(found.get(key) == value for key, value in fields.items()))

    def dump(self) -> Json:
        objects = {kind: list(kept.values()) for kind, kept in self.objects.items()}
        return {"objects": objects, "private": self.private}

    def load(self, dumped: Json) -> None:
        for kept in self.objects.values():
            kept.clear()
        for found in (found for kept in dumped["objects"].values() for found in kept):
            self.add(found)
        self.private = {key: value for key, value in dumped["private"].items() if self.find(key)}


def read_file(path: Path) -> Json:
    """Return the state that `write_file` saved, or an empty dict if the file doesn't exist."""
    found: Json = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_file(path: Path, state: Json) -> None:
    """Replace the file atomically by `state` as JSON, so that a process killed while writing leaves the old file."""
    scratch = path.with_suffix(path.suffix + ".part")
    scratch.write_text(json.dumps(state))
    scratch.replace(path)
