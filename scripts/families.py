"""Write the table of families in docs/families.md, or, with ``--check``, say whether it is up to date.

    python scripts/families.py [--check]

The rows are the registered families; what was tested is what the tests' own lists say.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import families as tested  # noqa: E402
import vitrail.models.families.table  # noqa: E402, F401  (registers ours)
from vitrail import registry  # noqa: E402

TRANSFORMERS = ("5.17.0", "5.23.0", "5.24.0")
"""The releases with which the tests below were run."""
DOCUMENT = ROOT / "docs" / "families.md"
BEGIN, END = "<!-- families:", "<!-- /families -->"
COLUMNS = ("family", "`model_type`", "positions", "packs", "prunes", "interleaves", "transformers", "tested")


def rows() -> list[tuple[str, ...]]:
    """A row for each registered family, the multimodal ones first."""
    found = [registry.get("family", name) for name in registry.names("family") if _is_ours(name)]
    order = ("multimodal", "language", "dual encoder", "encoder")
    return [_row(family) for family in sorted(found, key=lambda one: (order.index(one.kind), one.model_type))]


def _is_ours(name: str) -> bool:
    return registry.reference("family", name).target.startswith("vitrail.models.families.")


def _row(family: Any) -> tuple[str, ...]:
    generates = family.kind == "multimodal"
    return (
        family.about,
        f"`{family.model_type}`",
        family.positions if generates else "",
        _ability(family.pack) if generates else "",
        _ability(family.prune) if generates else "",
        _ability(family.interleave) if generates else "",
        ", ".join(TRANSFORMERS),
        _tests(family),
    )


def _ability(ability: Any) -> str:
    return "yes" + "*" * bool(ability.reason) if ability.can else "no"


def _tests(family: Any) -> str:
    if family.model_type in tested.MULTIMODAL:
        return "contract, recipe, plans, anatomy"
    if family.kind == "multimodal":
        return "its own tests (`tests/models/test_vlm.py`, `tests/recipes/test_run.py`)"
    return "anatomy"


def text() -> str:
    """The table in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document(current: str) -> str:
    """``current`` with the table in its place."""
    before, _, rest = current.partition(BEGIN)
    mark, _, rest = rest.partition("\n")
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{mark}\n{text()}\n{END}{after}"


def main() -> int:
    """Write or check."""
    current = DOCUMENT.read_text(encoding="utf-8")
    wanted = document(current)
    if "--check" in sys.argv[1:]:
        if current != wanted:
            print("docs/families.md is out of date; run python scripts/families.py", file=sys.stderr)
        return int(current != wanted)
    DOCUMENT.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
