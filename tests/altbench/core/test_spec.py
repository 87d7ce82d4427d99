"""The canonical JSON that keys are digests of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from altbench.core.spec import canonical, digest


@pytest.mark.parametrize("value", [np.arange(3), np.float32(1), {1}, object()])
def test_what_json_cannot_hold_enters_no_key(value: Any) -> None:
    with pytest.raises(TypeError, match=f"that JSON can hold .*, and {type(value).__name__} is not one"):
        digest({"options": {"value": value}})


def test_a_path_enters_a_key_as_text() -> None:
    assert canonical({"b": Path("a/b"), "a": (1, 2)}) == '{"a":[1,2],"b":"a/b"}' == canonical({"b": "a/b", "a": [1, 2]})
