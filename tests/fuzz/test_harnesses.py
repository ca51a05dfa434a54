import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.harnesses import HARNESSES, MAX_INPUT, Harness

CORPUS = Path(__file__).parent / "corpus"
every_harness = pytest.mark.parametrize("harness", HARNESSES, ids=lambda harness: harness.name)


def seeds(harness: Harness) -> list[bytes]:
    return [seed.read_bytes() for seed in sorted((CORPUS / harness.name).iterdir())]


def mutated(seed: bytes, number: int) -> bytes:
    """A seed with a few bytes removed, doubled, or replaced."""
    chance = random.Random(number)
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        match chance.randint(0, 3):
            case 0:
                data[at : at + 1] = bytes([chance.randint(0, 255)])
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case _:
                data[at:at] = chance.choice((b'"', b"{", b"[", b",", b"\x1e", b"\\ud800", b"null", b"\xff", b"\0"))
    return bytes(data[:MAX_INPUT])


@every_harness
def test_each_decoder_has_seeds_and_accepts_or_refuses_them(harness: Harness) -> None:
    """A seed raises nothing but its decoder's documented errors."""
    assert len(seeds(harness)) >= 4
    for seed in seeds(harness):
        harness.run(seed)


@every_harness
def test_nearly_valid_input_raises_only_documented_errors(harness: Harness) -> None:
    found = seeds(harness)

    @settings(max_examples=300, deadline=None, database=None)
    @given(seed=st.sampled_from(found), number=st.integers(0, 2**32))
    def run(seed: bytes, number: int) -> None:
        harness.run(mutated(seed, number))

    run()


@every_harness
def test_any_bytes_raise_only_documented_errors(harness: Harness) -> None:
    @settings(max_examples=200, deadline=None, database=None)
    @given(data=st.binary(max_size=300))
    def run(data: bytes) -> None:
        harness.run(data)

    run()
