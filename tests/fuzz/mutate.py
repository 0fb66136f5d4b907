"""Bodies to throw at the door: any bytes, any JSON, and good documents that were tampered with.

Every choice comes from the `Random` that is handed in, so a seed is an input, and Hypothesis
can steer and shrink. A body is never longer than the queues allow.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz import hostile
from tests.fuzz.readers import MOST_BYTES, READERS
from tests.town import alert_document, plan_document

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "tests" / "contracts" / "data" / "alerts"

# Stands for a token in the tree that is printed, and is replaced in the text.
MARK = "\ue000"
MARKED = re.compile(r'"\\ue000(\d+)\\ue000"')
ALPHABET = b'{}[]:,"\\ \n\t0123456789.-+eEtrufalsn\xef\xbb\xbf\x00\xff\xc3\xa9'
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "cp1252")
# How many changes a document gets: often one, so that each is seen alone.
CHANGES = (0, 1, 1, 1, 1, 2, 2, 3, 6)
MOST_NODES = 500

type Path_ = tuple[str | int, ...]


class Twin(str):
    """A key that a dict takes for another one although it is written the same."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True)
class Document:
    """A good body as text, the reader it is good for, and the way to each of its nodes."""

    reader: str
    text: str
    paths: tuple[Path_, ...]


def document(reader: str, tree: Any) -> Document:
    """The document of a tree."""
    return Document(reader, json.dumps(tree), tuple(ways(tree)))


def ways(tree: Any) -> list[Path_]:
    """The path of every node, the whole included, as far as MOST_NODES goes."""
    found: list[tuple[Path_, Any]] = [(("",), tree)]
    for way, node in found:
        inside = enumerate(node) if isinstance(node, list) else ()
        entries = node.items() if isinstance(node, dict) else inside
        room = MOST_NODES - len(found)
        found += [((*way, key), entry) for key, entry in islice(entries, max(room, 0))]
    return [way for way, _ in found]


@cache
def documents() -> tuple[Document, ...]:
    """The good documents, so that each reader has its share."""
    example = yaml.safe_load((ROOT / "examples" / "plan.yaml").read_text(encoding="utf-8"))
    rich = plan_document(
        steps=[1, {"percent": 5.5, "bake": {"min": "1m", "max": "1h"}, "gate": "manual"}, 100],
        unsure="retreat",
        rescale=True,
        rollback_on=[{"alert": "a", "target": "/t", "severity_at_most": 2}],
    )
    rich["evidence"] |= {
        "client": "UserId",
        "rules": [
            {"name": "slow", "bad": {"slower_than": "800ms"}},
            {"name": "slower", "bad": {"slower_than": "p95"}},
            {"name": "code", "bad": {"result_code": "5..|4(08|29)"}},
        ],
        "gauges": [{"name": "cpu", "table": "AppMetrics", "metric": "cpu", "above": "20%"}],
    }
    plans = [example, plan_document(), rich]
    asks = [
        {"action": "promote", "rollout": "shop-2.4", "from_step": 2, "by": "ada", "reason": "good"},
        *({"action": kind, "rollout": "shop-2.4", "by": "ada"} for kind in ("hold", "abort")),
    ]
    starts = [{"action": "start", "plan": plan, "by": "ci", "dry_run": False} for plan in plans]
    sent = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ALERTS.iterdir())]
    good = {
        "command": [*starts, *asks],
        "alert": [*sent, alert_document(), alert_document(condition="Resolved")],
        "plan": plans,
    }
    assert good.keys() == READERS.keys(), "each reader needs its good documents"
    return tuple(document(reader, tree) for reader, trees in good.items() for tree in trees)


def tampered(dice: Random, origin: Document) -> bytes:
    """A document with a few nodes changed, and perhaps its bytes."""
    held: dict[str, Any] = {"": json.loads(origin.text)}
    tokens: list[str] = []
    for _ in range(dice.choice(CHANGES)):
        edit(dice, held, dice.choice(origin.paths), origin, tokens)
    text = json.dumps(held[""], ensure_ascii=dice.random() < 0.8 or bool(tokens))
    if tokens:
        text = MARKED.sub(lambda mark: tokens[int(mark[1]) % len(tokens)], text)
    return damaged(dice, text)


def edit(
    dice: Random, held: dict[str, Any], way: Path_, origin: Document, tokens: list[str]
) -> None:
    """One change at one node; none where an earlier change took the node away."""
    parent = found(held, way[:-1])
    key = way[-1]
    if not has(parent, key):
        return
    change = dice.choice(EDITS)
    if change is swap:
        parent[key] = found({"": json.loads(origin.text)}, dice.choice(origin.paths))
    elif dice.random() < 0.1:
        tokens.append(hostile.token(dice))
        parent[key] = f"{MARK}{len(tokens) - 1}{MARK}"
    else:
        change(dice, parent, key)


def found(tree: Any, way: Path_) -> Any:
    """The node at the end of a path, None where the tree is another by now."""
    for key in way:
        if not has(tree, key):
            return None
        tree = tree[key]
    return tree


def has(node: Any, key: str | int) -> bool:
    """Whether a node has this entry."""
    if isinstance(node, list):
        return isinstance(key, int) and key < len(node)
    return isinstance(node, dict) and key in node


def replace(dice: Random, parent: Any, key: Any) -> None:
    parent[key] = hostile.value(dice)


def fit(dice: Random, parent: Any, key: Any) -> None:
    """A value that the field may have, or nearly: what is accepted must be sound as well."""
    parent[key] = hostile.fitting(dice, key)


def delete(_dice: Random, parent: Any, key: Any) -> None:
    if key == "":
        parent[key] = None
    else:
        del parent[key]


def duplicate(dice: Random, parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.insert(key, hostile.fresh(parent[key]))
    else:
        parent[Twin(key)] = dice.choice((hostile.fresh(parent[key]), hostile.value(dice)))


def insert(dice: Random, parent: Any, key: Any) -> None:
    node = parent[key]
    if isinstance(node, dict):
        parent[key] = {**node, hostile.key(dice): hostile.value(dice)}
    elif isinstance(node, list):
        at = dice.randrange(len(node) + 1)
        parent[key] = [*node[:at], hostile.value(dice), *node[at:]]
    else:
        parent[key] = {hostile.key(dice): node}


def add(dice: Random, parent: Any, key: Any) -> None:
    """A field that exists somewhere, with a value that fits it, beside this one."""
    if isinstance(parent, dict):
        field = dice.choice(tuple(hostile.FITTING))
        parent[field] = hostile.fitting(dice, field)
    else:
        fit(dice, parent, key)


def wrap(dice: Random, parent: Any, key: Any) -> None:
    parent[key] = dice.choice(([parent[key]], {hostile.key(dice): parent[key]}))


def nudge(dice: Random, parent: Any, key: Any) -> None:
    node = parent[key]
    if isinstance(node, str):
        at = dice.randrange(len(node) + 1)
        end = at + dice.randrange(2)
        parent[key] = node[:at] + dice.choice(("", "0", "\n", "é", "\0", ".", "-")) + node[end:]
    elif isinstance(node, int | float):
        parent[key] = dice.choice((node + 1, node - 1, -node, node * 10, node // 3, str(node)))
    else:
        parent[key] = hostile.value(dice)


def swap(_dice: Random, _parent: Any, _key: Any) -> None:
    """Another node of the document in this one's place; `edit` does it, having the document."""


HOSTILE_EDITS = (replace, delete, duplicate, insert, wrap, nudge, nudge, swap)
EDITS: tuple[Callable[[Random, Any, Any], None], ...] = (*HOSTILE_EDITS, add, *(fit,) * 11)


def damaged(dice: Random, text: str) -> bytes:
    """The text as bytes: nearly always in UTF-8 and whole."""
    kind = dice.randrange(24)
    if kind == 0:
        return text.encode(dice.choice(ENCODINGS), "replace")[:MOST_BYTES]
    body = text.encode(errors="surrogatepass")
    at = dice.randrange(len(body) + 1)
    if kind == 1:
        body = body[:at]
    elif kind == 2:
        body = body[:at] + bytes([dice.randrange(256)]) + body[at + dice.randrange(2) :]
    elif kind == 3:
        body = dice.choice((b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\n", b"\0")) + body
    elif kind == 4:
        body += body[at:]
    return body[:MOST_BYTES]


def raw(dice: Random) -> bytes:
    """Bytes: any, or those that JSON is made of."""
    size = int(dice.random() ** 3 * 400)
    if dice.random() < 0.5:
        return dice.randbytes(size)
    return bytes(dice.choices(ALPHABET, k=size))


def anything(dice: Random, depth: int = 4) -> Any:
    """Any JSON value, with names of fields that exist."""
    kind = dice.random()
    if depth == 0 or kind < 0.3:
        return hostile.value(dice)
    inside = [anything(dice, depth - 1) for _ in range(dice.randrange(5))]
    return inside if kind < 0.5 else {hostile.key(dice): node for node in inside}


def body(dice: Random) -> tuple[str, bytes]:
    """One input and the reader it is for: mostly a tampered document."""
    kind = dice.random()
    origin = dice.choice(documents())
    reader = origin.reader if kind < 0.9 else dice.choice(tuple(READERS))
    if kind < 0.1:
        return reader, raw(dice)
    if kind < 0.2:
        return reader, damaged(dice, json.dumps(anything(dice)))
    return reader, tampered(dice, origin)
