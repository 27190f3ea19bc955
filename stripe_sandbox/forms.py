"""Decodes Stripe's form encoding, such as `line_items[0][price_data][currency]=eur&expand[]=customer`."""

import re
from collections.abc import Iterable
from typing import Any

_PART = re.compile(r"[^\[\]]+|\[\]")


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the (name, value) pairs as nested dicts and lists of strings.

    `a[b]=1` becomes {"a": {"b": "1"}}; `a[]=1` and `a[0]=1` become {"a": ["1"]}.
    """
    root: dict[str, Any] = {}
    for name, value in pairs:
        _put(root, _PART.findall(name), value)
    nested = _lists(root)
    return nested if isinstance(nested, dict) else {}


def _put(node: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        child = node.setdefault(_key(node, part), {})
        if not isinstance(child, dict):
            return
        node = child
    if path:
        node[_key(node, path[-1])] = value


def _key(node: dict[str, Any], part: str) -> str:
    return str(len(node)) if part == "[]" else part


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}
