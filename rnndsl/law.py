"""Named rules that a value between two stages keeps. A breach is a fault of the compiler."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Check = Callable[..., Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """`check` yields a sentence for each breach."""

    name: str
    description: str
    check: Check


class Law(list[Rule]):
    """Rules in the order in which they are checked."""

    def rule(self, name: str, description: str) -> Callable[[Check], Check]:
        """Adds a check to the rules."""

        def add(check: Check) -> Check:
            self.append(Rule(name, description, check))
            return check

        return add

    def breaches(self, *value: Any) -> Iterator[tuple[Rule, str]]:
        """Each breach of a rule by a value."""
        for rule in self:
            for problem in rule.check(*value):
                yield rule, problem
