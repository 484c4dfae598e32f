import numpy as np
import pytest

from vitrail.data.mixtures.tree import Node

TREE = Node(
    "all",
    (Node("text", (Node("books"), Node("code")), (0.25, 0.75)), Node("scenes")),
    (0.4, 0.6),
    "fixed, in tokens",
)


def test_leaves_have_their_share_of_the_whole():
    assert TREE.leaves() == ["books", "code", "scenes"]
    assert TREE.leaf_shares() == pytest.approx([0.1, 0.3, 0.6])
    assert TREE.leaf_shares(np.array([0.8, 0.2])) == pytest.approx([0.2, 0.6, 0.2])


def test_it_is_drawn():
    assert TREE.text({"code": "9 records"}).splitlines() == [
        "all  (fixed, in tokens)",
        "├─  40.0 %  text",
        "│  ├─  25.0 %, 10.0 % of all  books",
        "│  └─  75.0 %, 30.0 % of all  code  (9 records)",
        "└─  60.0 %  scenes",
    ]
