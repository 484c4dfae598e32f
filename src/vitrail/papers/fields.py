"""Reading the fields of a TOML table, gathering every fault instead of stopping at the first.

A fault is one sentence: the file, the field, its value, the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vitrail.papers.vocabulary import nearest


class CatalogueError(ValueError):
    """Entries that are not right; ``faults`` has a sentence for each."""

    def __init__(self, faults: Collection[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Table:
    """Reads fields of one TOML table; what is wrong is gathered in ``faults``, and a default returned."""

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "", faults: list[str] | None = None):
        self.values, self.file, self.path = values, file, path
        self.faults: list[str] = [] if faults is None else faults
        self._read: set[str] = set()

    def fault(self, name: str, value: Any, remedy: str) -> None:
        """Note one: file, field, value, remedy."""
        shown = "is missing" if value is None else f"is {_short(value)}"
        self.faults.append(f"{self.file}: {self.path}{name} {shown}; {remedy}")

    def _get(self, name: str, kind: type, optional: bool, what: str) -> Any:
        self._read.add(name)
        value = self.values.get(name)
        if value is None:
            if not optional:
                self.fault(name, None, f"give {what}")
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fault(name, value, f"give {what}")
            return None
        return value

    def text(
        self,
        name: str,
        *,
        empty: bool = False,
        optional: bool = False,
        pattern: str = "",
        remedy: str = "",
        strip: bool = True,
    ) -> str:
        """A text; ``pattern`` must match the whole of it where it is not empty."""
        value = self._get(name, str, optional, "a text")
        if value is None:
            return ""
        value = value.strip() if strip else value.strip("\n")
        if not value.strip() and not empty:
            self.fault(name, value, "write it; this field may not be empty")
        elif value.strip() and pattern and not re.fullmatch(pattern, value, re.DOTALL):
            self.fault(name, value, remedy)
        return value

    def word(self, name: str, known: Collection[str]) -> str:
        """One of ``known``."""
        value = self.text(name)
        if value and value not in known:
            self.fault(name, value, nearest(value, known))
        return value

    def year(self, name: str) -> int:
        """A year of this field."""
        value = self._get(name, int, False, "the year as a number")
        if value is not None and not 1990 <= value <= 2100:
            self.fault(name, value, "give the year of publication, such as 2024")
        return value or 0

    def strings(self, name: str, *, needed: bool = False, optional: bool = False) -> tuple[str, ...]:
        """A list of texts, none of them twice."""
        value = self._get(name, list, optional, "a list of texts") or []
        if any(not isinstance(item, str) or not item.strip() for item in value):
            self.fault(name, value, "give texts only, none of them empty")
            return ()
        if len(set(value)) < len(value):
            self.fault(name, value, "name each once")
        if needed and not value and name in self.values:
            self.fault(name, value, "a paper that is built has files; name them, or set state = 'planned'")
        return tuple(value)

    def words(self, name: str, known: Collection[str], *, empty: bool = False) -> tuple[str, ...]:
        """A list of ``known`` words."""
        value = self.strings(name)
        for word in value:
            if word not in known:
                self.fault(name, word, nearest(word, known))
        if not value and not empty and isinstance(self.values.get(name), list):
            self.fault(name, [], f"name at least one; {nearest('', known)}")
        return value or ("",) if not empty else value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A table that may be missing."""
        return self._get(name, dict, True, "a table") or {}

    def table(self, name: str, optional: bool = False) -> Any:
        """A table within this one; its faults are told with this one's. None where optional and missing."""
        value = self._get(name, dict, optional, f"the table [{name}]")
        if value is None and optional:
            return None
        # A missing table is one fault, not one for each field that it would hold.
        faults = self.faults if value is not None else []
        return Table(value or {}, self.file, f"{self.path}{name}.", faults)

    def rest(self) -> None:
        """Every field that nobody read is a fault."""
        for name in self.values:
            if name not in self._read:
                self.fault(
                    name, self.values[name], f"there is no such field; {nearest(name, sorted(self._read))}"
                )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
