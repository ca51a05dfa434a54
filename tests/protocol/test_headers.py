import pytest

from synkora.protocol.headers import LONGEST_LIST, tokens


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ([b"keep-alive, Upgrade"], {b"keep-alive", b"upgrade"}),
        ([b"a", b" B ,c"], {b"a", b"b", b"c"}),
        ([b"a" + b"," * (LONGEST_LIST - 1)], {b"a", b""}),
        ([b"a" + b"," * LONGEST_LIST], set()),
        ([b"a", b"," * LONGEST_LIST], set()),
    ],
)
def test_members_of_a_list(values: list[bytes], members: set[bytes]) -> None:
    """Those of all fields, in lower case. A very long list, in one field or in several, is not read."""
    assert tokens(values) == members
