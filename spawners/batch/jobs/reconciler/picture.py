"""The life of a record as a page with a picture, made from the tables themselves.

Arrows are the transitions that :mod:`.examples` finds to be legal, next steps are what
:func:`~.steps.next_step` says; nothing is drawn that the code does not do. Written into
the documentation by ``python -m hub.reference``.
"""

from __future__ import annotations

from ..record import Situation
from ..settings import Policy
from .examples import MOMENT, RECORDS, edges
from .steps import FRESH, NEVER, Now, Step, follow, next_step

_MEANINGS = {
    Situation.INTENT: "It is written down; the scheduler may or may not have it.",
    Situation.POLLED: "The scheduler has it, and its state is read with every listing.",
    Situation.CANCELLING: "Likewise, and its end is asked for until it was read.",
    Situation.GRACE: "Its end was read; a controller's crash may take that back.",
    Situation.SEARCHED: "Given up or lost; its job may still come.",
    Situation.DUPLICATE: "Over, and there is a job nevertheless, which has to end.",
    Situation.CLOSED: "Nothing is to be done any more.",
}
_STEPS = {
    Step.NONE: "nothing",
    Step.FIND: "look for its job by name: adopt it, or give it up after the last look",
    Step.COMPLETE_IDENTITY: "look for the time and user id that `sbatch` did not tell",
    Step.CANCEL: "ask for the end, again and again",
    Step.SEARCH_LATE: "look by name, at growing intervals",
    Step.FORGET: "forget it when the grace period is over",
}
_HEAD = """\
# The life of a job's record

<!-- Made by `python -m hub.reference` from spawners/batch/jobs; do not edit. -->

A record is in exactly one of seven situations. Arrows are the transitions of
`spawners/batch/jobs/record.py`: whatever is not drawn is refused by a typed error.

```mermaid
stateDiagram-v2
    direction LR
    [*] --> intent: written down
"""
_MIDDLE = """\
```

What leaves a record where it is (readings, notes, a request made twice) is not drawn.

## What is done next

One table says it (`spawners/batch/jobs/reconciler/steps.py`), one queue has it done: a
record is in the queue once, with one worker at a time. A new process, which remembers
nothing, begins with these steps.

| situation | what it means | next step |
| --- | --- | --- |
"""
_TAIL = """
An end that was read is written down first (`close`), with the last lines of the job's
output, before anything else is done about the record. A record whose submission is
under way in this process is left alone until that is answered.

A listing ends nothing by what it lacks: only a job that is missing from good listings
for a while, and of which no accounts tell, is lost. That, too, is a table: `judge` in
the same file.
"""


def page() -> str:
    """Return the page, in Markdown."""
    return _HEAD + "".join(_arrows()) + _MIDDLE + "".join(_rows()) + _TAIL


def _arrows() -> list[str]:
    names: dict[tuple[Situation, Situation], list[str]] = {}
    for before, name, after in sorted(edges()):
        if before is not after:
            names.setdefault((before, after), []).append(name.replace("_", " "))
    order = list(Situation)
    arrows = [
        f"    {before.value} --> {after.value}: {' / '.join(labels)}\n"
        for (before, after), labels in sorted(
            names.items(), key=lambda item: [order.index(end) for end in item[0]]
        )
    ]
    return [*arrows, f"    {Situation.CLOSED.value} --> [*]\n"]


def _rows() -> list[str]:
    return [
        f"| {situation.value} | {_MEANINGS[situation]} | {_next(situation)} |\n"
        for situation in Situation
    ]


def _next(situation: Situation) -> str:
    """Return in words what is done about records of a situation, and how soon."""
    now, policy, found = Now(MOMENT, 0.0), Policy(), []
    for record in RECORDS[situation]:
        memory = follow(record, FRESH, now, policy)
        step, due = next_step(record, memory, now)
        when = f", in {due:g} s" if 0 < due < NEVER else ""
        words = f"{_STEPS[step]}{when}"
        if words not in found:
            found.append(words)
    return "; or: ".join(found)
