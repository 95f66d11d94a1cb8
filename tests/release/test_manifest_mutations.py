"""No mutated manifest is accepted: not by chance, and not by what a forger would try first."""

import json
import random
from collections import Counter

import pytest

from robot_agent.core.errors import BundleRejectedError
from robot_agent.release.bundle_reader import verify_manifest
from robot_agent.release.manifest import parse_manifest
from robot_agent.store.strict_json import canonical_json
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, TRAINER, make_bundle


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("b") / "b"
    make_bundle(folder, 5, "ab" * 32)
    return (folder / "manifest.json").read_bytes(), (folder / "manifest.sig").read_bytes()


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_or_splice(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.choices(range(len(content) + 1), k=2))
    return chance.choice(
        [
            content[:start],
            content[start:],
            content[:start] + content[end:],
            content[:end] + content[start:],
            content[:start] + chance.randbytes(4) + content[start:],
        ]
    )


def change_a_value(content: bytes, chance: random.Random) -> bytes:
    """Change one field to what looks right, and spell it canonically."""
    fields = json.loads(content)
    name = chance.choice(list(fields))
    values = [
        chance.randrange(1, 10**6), chance.randbytes(32).hex(), "", {}, None, True,
        TRAINER.key_id, OPERATOR.key_id, STRANGER.key_id,
    ]  # fmt: skip
    if name == "files":
        entry = chance.choice(list(fields["files"]))
        fields["files"][entry]["sha256"] = chance.randbytes(32).hex()
    elif isinstance(fields[name], int):
        fields[name] += chance.choice([-1, 1, 2, 100])
    else:
        fields[name] = chance.choice(values)
    return canonical_json(fields)


def change_the_fields(content: bytes, chance: random.Random) -> bytes:
    fields = json.loads(content)
    name = chance.choice(list(fields))
    value = fields.pop(name)
    if chance.random() < 0.5:
        fields[name + chance.choice(["", "_", "s"])] = [value]
    return canonical_json(fields)


def spell_freely(content: bytes, chance: random.Random) -> bytes:
    fields = list(json.loads(content).items())
    chance.shuffle(fields)
    return json.dumps(dict(fields), indent=chance.choice([None, 0, 1])).encode()


MUTATIONS = (flip_bits, cut_or_splice, change_a_value, change_the_fields, spell_freely)


def accepted(content: bytes, signature: bytes) -> bool:
    try:
        verify_manifest(content, signature, KEYRING, "b")
    except BundleRejectedError:
        return False
    return True


def tried(signed: tuple[bytes, bytes], count: int, seed: int) -> tuple[int, int, Counter[str]]:
    """Return how many mutants there were, how many were accepted, and which mutations."""
    chance, mutants, taken = random.Random(seed), 0, 0
    kinds: Counter[str] = Counter()
    content, signature = signed
    while mutants < count:
        mutate = chance.choice(MUTATIONS)
        mutant = mutate(content, chance)
        if chance.random() < 0.05:
            signature = flip_bits(signed[1], chance)
        else:
            signature = signed[1]
        if (mutant, signature) == signed:
            continue
        mutants += 1
        kinds[mutate.__name__] += 1
        taken += accepted(mutant, signature)
    return mutants, taken, kinds


def test_ten_thousand_mutated_manifests_are_refused(signed):
    assert accepted(*signed)
    mutants, taken, kinds = tried(signed, 10_000, seed=1)
    assert (mutants, taken) == (10_000, 0)
    assert len(kinds) == len(MUTATIONS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_mutated_manifests_are_refused(signed, exhaustive):
    count = 1_000_000 if exhaustive else 100_000
    assert tried(signed, count, seed=2)[1] == 0


def test_without_the_signature_many_of_them_would_be_accepted(signed):
    """The mutants have teeth: a reader that only parses takes hundreds of a thousand."""
    chance, taken = random.Random(3), 0
    for _ in range(1000):
        mutant = change_a_value(signed[0], chance)
        try:
            taken += mutant != signed[0] and parse_manifest(mutant, "b") is not None
        except BundleRejectedError:
            continue
    assert taken > 300
