"""Any JSON, for hypothesis."""

from typing import Any

from hypothesis import strategies as st


def json_values(*, max_size: int, max_leaves: int) -> st.SearchStrategy[Any]:
    """Values that JSON and JavaScript can represent. `max_size` is that of arrays and objects."""
    numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        st.none() | st.booleans() | numbers | st.text(),
        lambda inner: st.lists(inner, max_size=max_size) | st.dictionaries(st.text(), inner, max_size=max_size),
        max_leaves=max_leaves,
    )
