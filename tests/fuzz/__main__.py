"""Coverage-guided fuzzing by atheris (libFuzzer): `python -m tests.fuzz intake SECONDS [FOLDER]`.

Ends with another status than 0 at a crash, whose input is left in FOLDER (by default a new one below /tmp). Half of the
changes are those of libFuzzer, half are made to the JSON as a tree, as bytes changed at random are seldom JSON at all.
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fhir_mappings", "service", "jsonpatch", "jsonpointer", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.mutations import changed
from tests.fuzz.seeds import bodies, write_seeds

LONGEST = 40_000
"""Bytes of one input."""
SLOWEST = 10
"""Seconds for one input, on a busy machine."""


def main(target: str, seconds: int, folder: Path) -> None:
    """Runs until the time is up or something crashes."""
    corpus = folder / "corpus"
    write_seeds(target, corpus)
    parts = bodies()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 - a fuzzer's choice
        tree = changed(data, parts, chance) if target == "intake" and chance.random() < 0.5 else None
        made: bytes = tree if tree is not None and len(tree) <= most else atheris.Mutate(data, most)
        return made

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOWEST}",
        "-rss_limit_mb=2000",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[target], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    where = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(tempfile.mkdtemp(prefix="sluss-fuzz-"))
    main(sys.argv[1], int(sys.argv[2]), where)
