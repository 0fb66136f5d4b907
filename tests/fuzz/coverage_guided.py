"""The same readers under atheris, which keeps the inputs that reach new branches of our code.

`python -m tests.fuzz.coverage_guided -runs=500000` and libFuzzer's other options. atheris is
none of the project's requirements: install it beside them. It sees the branches of `shared`,
not those of pydantic's core, which is native code. A first byte chooses the reader.
"""

import json
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # optional

with atheris.instrument_imports(include=["shared"]):
    from tests.fuzz import mutate
    from tests.fuzz.readers import MOST_BYTES, READERS, attempt

NAMES = tuple(READERS)
CRASHES = Path(".local") / "fuzz"


def one_input(data: bytes) -> None:
    """A byte for the reader, then the body. Raises AssertionError for a broken promise."""
    name = NAMES[data[0] % len(NAMES)] if data else NAMES[0]
    outcome = attempt(READERS[name], data[1:])
    if outcome.broken:
        raise AssertionError(f"{name}: {outcome.broken}")


def change(data: bytes, most: int, seed: int) -> bytes:
    """Half of the changes are libFuzzer's to the bytes, half are ours to the document."""
    try:
        tree = json.loads(data[1:]) if seed % 2 else None
        if isinstance(tree, dict | list):
            origin = mutate.document(NAMES[data[0] % len(NAMES)], tree)
            return (data[:1] + mutate.tampered(Random(seed), origin))[:most]
    except (ValueError, RecursionError):
        pass  # no document any more, or one too deep to walk
    return bytes(atheris.Mutate(data, most))


def main(arguments: list[str]) -> None:
    """Begin with the good documents, in a corpus that is gone afterwards."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, origin in enumerate(mutate.documents()):
            first = bytes([NAMES.index(origin.reader)])
            (Path(corpus) / str(number)).write_bytes(first + origin.text.encode())
        bounds = [f"-max_len={MOST_BYTES}", f"-artifact_prefix={CRASHES}/"]
        CRASHES.mkdir(parents=True, exist_ok=True)
        options = [arguments[0], corpus, *bounds, *arguments[1:]]
        atheris.Setup(options, one_input, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
