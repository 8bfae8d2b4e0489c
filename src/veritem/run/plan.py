"""The plan: which checks run, which cannot and why, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from veritem.checks.base import Check
from veritem.derived import DERIVED, INPUTS, Derived, load_all


@dataclass(frozen=True)
class PlannedCheck:
    """A check in the plan.

    reason: why it cannot run; empty when it can.
    inputs: the inputs of the submission that its answer depends on, through whatever derived values.
    """

    check: Check
    reason: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    checks: tuple[PlannedCheck, ...]
    table: Mapping[str, Derived]

    def still_needed(self, names: Iterable[str], computed: Iterable[str]) -> set[str]:
        """What must be kept or computed for `names`, going no deeper than what is computed already."""
        have = set(computed)
        needed: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in needed:
                continue
            needed.add(name)
            if name not in have and name in self.table:
                todo.extend(self.table[name].needs)
        return needed


def make_plan(checks: Iterable[type[Check]], available: Mapping[str, Any]) -> Plan:
    """Resolve what each check needs by name.

    available: the inputs of the submission, None where not given.
    Raises ValueError when a check or a derived value needs a name that nothing provides, or needs itself.
    """
    table = load_all()
    planned = []
    for check_class in checks:
        check = check_class()
        missing = [INPUTS[name] for name in check.needs if available.get(name) is None]
        if check.unavailable:
            reason = check.unavailable
        elif missing:
            reason = f"needs {' and '.join(missing)}: not given"
        else:
            reason = ""
        inputs = inputs_behind(check.uses(), table) | set(check.needs)
        planned.append(PlannedCheck(check, reason, tuple(sorted(inputs))))
    return Plan(tuple(planned), table)


def inputs_behind(names: Iterable[str], table: Mapping[str, Derived] = DERIVED) -> set[str]:
    """The inputs of the submission that the named values depend on.

    Raises ValueError for an unknown name and for a circle.
    """
    found: set[str] = set()
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"These derived values need each other: {' → '.join((*path, name))}.")
        if name in INPUTS:
            found.add(name)
        elif name in table:
            if name not in done:
                for need in table[name].needs:
                    visit(need, (*path, name))
                done.add(name)
        else:
            asked = f" (asked for by '{path[-1]}')" if path else ""
            raise ValueError(f"Nothing provides '{name}'{asked}. Known names: {', '.join([*INPUTS, *table])}.")

    for name in names:
        visit(name, ())
    return found
