"""``vitrail papers [NAME]``: the catalogue of methods, listed, searched and explained."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from vitrail.cli.output import console, print_json, print_table
from vitrail.cli.parsing import UsageError, add_json, positive

if TYPE_CHECKING:
    from vitrail.papers import Evidence, Paper

FILTERS = ("kind", "seam", "state", "year", "verdict")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="explain one paper")
    parser.add_argument("--search", metavar="WORDS", help="find papers by what they are about")
    parser.add_argument("--kind", help="only this kind: data, architecture, evaluation …")
    parser.add_argument("--seam", help="only those that plug in here: connector, objective …")
    parser.add_argument("--state", help="only built or planned ones")
    parser.add_argument("--year", type=int, help="only this year")
    parser.add_argument(
        "--verdict", help="only with this verdict on some testbed; none: nothing measured yet"
    )
    parser.add_argument("--bibtex", action="store_true", help="print BibTeX alone")
    parser.add_argument(
        "--limit", type=positive, default=10, metavar="N", help="how many --search shows (10)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List, search, or explain one."""
    from vitrail.papers import evidence_of, read
    from vitrail.papers.catalogue import paper

    if args.name:
        given = [f"--{name}" for name in (*FILTERS, "search") if getattr(args, name) is not None]
        if given:
            raise UsageError(f"vitrail papers: {given[0]} chooses among papers; leave it out, or the name")
        one = paper(args.name)
        found = evidence_of(one.id)
        if args.bibtex:
            print(one.bibtex)
        elif args.json:
            print_json(as_json(one, found))
        else:
            from vitrail.cli.paper_text import explain

            explain(one, found)
        return 0
    papers = read()
    evidence = {id: evidence_of(id) for id in papers}
    chosen = choose(papers, evidence, args)
    how, more = "", 0
    if args.search is not None and chosen:
        ranked, how = find(args.search, chosen)
        more = max(0, len(ranked) - args.limit)
        chosen = {id: papers[id] for id, _ in ranked[: args.limit]}
    if args.bibtex:
        print("\n\n".join(one.bibtex for one in chosen.values()))
    elif args.json:
        print_json([as_json(one, evidence[id], whole=False) for id, one in chosen.items()])
    else:
        show(chosen, evidence, how, more)
    return 0


def choose(papers: dict[str, Paper], evidence: dict[str, Any], args: argparse.Namespace) -> dict[str, Paper]:
    """The papers that pass all filters. ValueError for a word that no filter knows, with the nearest."""
    from vitrail.papers.vocabulary import KINDS, SEAMS, STATES, VERDICTS, nearest

    known = {"kind": KINDS, "seam": SEAMS, "state": STATES, "verdict": (*VERDICTS, "none")}
    for name, words in known.items():
        value = getattr(args, name)
        if value is not None and value not in words:
            raise ValueError(f"--{name} {value!r} is not one of them; {nearest(value, words)}")

    def passes(one: Paper) -> bool:
        verdicts = {item.verdict for item in evidence[one.id]} or {"none"}
        return (
            args.kind in (None, one.kind)
            and (args.seam is None or args.seam in one.seams)
            and args.state in (None, one.state)
            and args.year in (None, one.year)
            and (args.verdict is None or args.verdict in verdicts)
        )

    return {id: one for id, one in papers.items() if passes(one)}


def find(query: str, papers: dict[str, Paper]) -> tuple[list[tuple[str, float]], str]:
    """Ids with scores, best first, and one line that says how they were found."""
    from vitrail.papers import meaning, search

    if not search.terms(query):
        raise ValueError(f"--search {query!r} has no word to look for; say what the method does")
    if meaning.folder() is None:
        how = f"found by words alone (BM25), not by meaning; for that: {meaning.INSTALL}"
        return search.by_words(query, papers), how
    from vitrail.cli.libraries import prepare_libraries

    prepare_libraries()
    vectors = _vectors([text for one in papers.values() for text in search.passages(one)])
    how = f"found by meaning ({meaning.NAME}, on this machine)"
    return search.by_meaning(query, papers, vectors, meaning.encode), how


def _vectors(texts: list[str]) -> Any:
    """The texts' vectors, kept in the cache by what they say: an entry that changes is encoded again, alone."""
    from vitrail.papers import meaning
    from vitrail.storage.arrays import ArrayStore
    from vitrail.storage.cache import key

    def compute(positions: list[int]) -> Any:
        return meaning.encode([texts[position] for position in positions])

    producer = f"{meaning.NAME}, mean of at most {meaning.MOST_TOKENS} tokens"
    store = ArrayStore(producer, [key(text) for text in texts], (384,), "float32", items_per_shard=1)
    if not store.complete:
        print(
            f"{len(store.missing())} texts are encoded, once; the next search takes a moment only",
            file=sys.stderr,
        )
    store.fill(compute)
    return store.gather(range(len(texts)))


def show(papers: dict[str, Paper], evidence: dict[str, tuple[Evidence, ...]], how: str, more: int) -> None:
    """The table."""
    from vitrail.papers.evidence import summary

    # In a narrow terminal a title would be a column of syllables.
    wide = console().width >= 130
    rows = []
    for id, one in papers.items():
        verdict = summary(evidence[id]) or "–"
        title = one.title if wide else one.name
        rows.append((id, title, one.year, one.kind, ", ".join(one.seams), one.state, verdict))
    if rows:
        print_table(
            "", ("id", "title" if wide else "name", "year", "kind", "seams", "state", "verdict"), rows
        )
    built = sum(one.state == "built" for one in papers.values())
    print(
        f"{len(rows)} papers: {built} built, {len(rows) - built} planned (not built yet: they explain, nothing runs)."
    )
    if more:
        print(f"{more} more were found; --limit shows more of them.")
    if how:
        print(how)
    print("vitrail papers NAME explains one; vitrail papers --search WORDS finds some.")


def as_json(one: Paper, found: tuple[Evidence, ...], whole: bool = True) -> dict[str, Any]:
    """The entry as JSON; ``whole`` with its texts, method and evidence."""
    from vitrail.papers.evidence import summary

    if not whole:
        names = ("id", "title", "year", "kind", "seams", "state")
        return {**{name: getattr(one, name) for name in names}, "verdict": summary(found) or None}
    evidence = [dataclasses.asdict(item) for item in found]
    for item in evidence:
        item.pop("cells"), item.pop("path")
    return {**dataclasses.asdict(one), "verdict": summary(found) or None, "evidence": evidence}
