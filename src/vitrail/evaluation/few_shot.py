"""Few-shot evaluation: one set of episodes, asked at several numbers of shots and with examples shown in several ways.

``none`` asks without them, ``text`` leaves their pictures out, ``pictures`` shows them whole, ``apart`` reads each
alone (AIM, arXiv 2406.07588; the model must have undergone the surgery ``aim``). With ``control="shuffled"`` the
examples' pictures are dealt out anew: what they told is gone.

:func:`from_pool` asks any questions behind examples of a pool, chosen at random or by RICES (nearest pictures).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.demonstrations import Shown
from vitrail.evaluation.figures import Figure
from vitrail.evaluation.two_way import shot_curve

if TYPE_CHECKING:
    from vitrail.data.sources import Source
    from vitrail.evaluation.task import Task
    from vitrail.models.bundle import Bundle

WAYS: tuple[Shown, ...] = ("none", "text", "pictures", "apart")


def few_shot(
    bundle: Bundle,
    folder: Path,
    ways: Sequence[Shown] = WAYS,
    shots: Sequence[int] = (1, 2, 4, 8),
    *,
    batch_size: int = 16,
    methods: Sequence[tuple[str, Any]] = (),
    **settings: Any,
) -> dict[str, dict[int, Figure]]:
    """The accuracy of each way of showing at each number of shots; answers are kept in ``folder`` and not asked again.

    ``settings`` are those of the benchmark ``offline_episodes`` (``n``, ``suite``, ``policy``, ``control`` …).
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.run import run_task
    from vitrail.evaluation.task import Task

    found: dict[str, dict[int, Figure]] = {}
    for way in ways:
        given = {**settings, "shots": list(shots), "show": way}
        scenario = {"name": "benchmark", "benchmark": "offline_episodes", "settings": given}
        task = Task.model_validate({"name": f"few-shot-{way}", "scenario": scenario})
        path = run_task(task, bundle, folder, batch_size=batch_size, methods=methods)
        rows = read_answers(path).rows
        found[way] = shot_curve(lambda k, rows=rows: [row for row in rows if row["groups"]["k"] == k], shots)  # type: ignore[misc]
    return found


def from_pool(
    task: Task,
    bundle: Bundle,
    folder: Path,
    shots: Sequence[int] = (0, 1, 2, 4, 8),
    *,
    source: Source | None = None,
    batch_size: int = 16,
    methods: Sequence[tuple[str, Any]] = (),
    **examples: Any,
) -> dict[int, Figure]:
    """The share of ``task``'s questions answered right at each number of shots; answers are kept in ``folder``.

    ``examples`` are settings of the instruction ``in_context``: ``pool``, ``retriever``, ``encoder``, ``show``,
    ``cheat`` …; the task's own instruction puts examples and question. Without examples nothing is retrieved.
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.figures import accuracy
    from vitrail.evaluation.run import run_task

    named = {name: examples[name] for name in ("retriever", "show", "cheat") if examples.get(name)}
    how = "-".join(name if value is True else str(value) for name, value in named.items())
    found = {}
    for k in shots:
        settings = {**examples, "k": k} if k else {"k": 0}
        instruction = {"name": "in_context", **settings, "instruction": task.instruction}
        name = f"{task.name[:40]}.{how}-{k}" if how and k else f"{task.name[:40]}.{k}-shots"
        asked = task.model_validate({**task.model_dump(), "name": name, "instruction": instruction})
        path = run_task(asked, bundle, folder, source=source, batch_size=batch_size, methods=methods)
        found[k] = accuracy(f"{k} shots", read_answers(path).rows)
    return found
