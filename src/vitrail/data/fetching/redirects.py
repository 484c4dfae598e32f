"""Redirects, one hop after the other: each address is judged like the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urljoin

from vitrail.data.fetching.addresses import Target, target_of
from vitrail.data.fetching.client import REDIRECTS, Answer
from vitrail.data.fetching.failures import Failed, Refused


def followed(
    target: Target, ask: Callable[[Target], Answer], max_redirects: int, ports: Sequence[int] = ()
) -> Answer:
    """The answer behind all redirects, of which there may be ``max_redirects``, to these ``ports`` (none: every one).

    ``ask`` is called with the target of every hop, and raises for one that it does not want.
    """
    for _ in range(max_redirects + 1):
        answer = ask(target)
        if answer.status not in REDIRECTS:
            return answer
        target = _next(target, answer, ports)
    raise Failed("too many redirects", f"more than {max_redirects}")


def _next(target: Target, answer: Answer, ports: Sequence[int]) -> Target:
    place = answer.headers["location"]
    try:
        address = urljoin(target.address, place)
    except ValueError as error:
        raise Refused("bad address", f"a redirect to {place[:80]!r}: {error}") from None
    return target_of(address, ports)
