"""Two versions of tiny models on disk, in bfloat16 as released ones are."""

from __future__ import annotations

import pytest

import families
from checkpoints import copied, moved, rounded


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """``versions(name)``: folders of a base and of a tuned version, which is the base moved a little."""
    root, found = tmp_path_factory.mktemp("versions"), {}

    def get(name):
        if name not in found:
            base = families.save_family(name, root / name / "base", seed=0)
            rounded(base)
            tuned = copied(base, root / name / "tuned")
            moved(tuned, seed=1)
            found[name] = base, tuned
        return found[name]

    return get
