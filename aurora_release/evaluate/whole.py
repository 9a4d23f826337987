"""Everything that `aurora evaluate` does: measure, compare, keep, show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.errors import AuroraError
from aurora_release.evaluate import overview, report
from aurora_release.evaluate.compare import Comparison, compare
from aurora_release.evaluate.measure import Settings, measure
from aurora_release.evaluate.sets import EvalSet, find
from aurora_release.evaluate.subject import Known, Server, Subject, subjects

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Evaluation:
    """What was measured of each model, and what changed from the base to each other one."""

    models: Mapping[str, Mapping[str, Any]]
    base: str | None
    comparisons: Mapping[str, Sequence[Comparison]]

    def text(self) -> str:
        """Return the tables."""
        parts = [overview.values(self.models), *overview.left_out(self.models)]
        if self.base is not None:
            parts.append(overview.changes(self.base, self.comparisons))
        return "\n\n".join(parts)

    def json(self) -> str:
        """Return everything as one line of canonical JSON."""
        return evidence.canonical(self._content()).decode()

    def _content(self) -> dict[str, Any]:
        compared = {
            name: [asdict(each) for each in found] for name, found in self.comparisons.items()
        }
        return {"models": self.models, "against": self.base, "comparisons": compared}


def evaluate(
    references: Sequence[str],
    against: str | None,
    sets: Iterable[Path],
    out: Path,
    settings: Settings,
    limit: int | None = None,
    server: Server | None = None,
) -> Evaluation:
    """Measure models on sets and return the result; evidence, comparison and report lie in `out`.

    Raises:
        AuroraError: there is no such model or set, or a model cannot be measured.
    """
    everyone = subjects(
        [*([against] if against else []), *references], server or Server(), settings.exact
    )
    items = find(sets, limit)
    if not items and any(isinstance(each, Subject) for each in everyone):
        raise AuroraError("Nothing to measure: name evaluation sets with --sets.")
    models = {each.name: _measured(each, items, settings, out) for each in everyone}
    base = everyone[0].name if against else None
    compared = {
        name: compare(models[base], found, settings.sampling.seed)
        for name, found in models.items()
        if base is not None and name != base
    }
    found = Evaluation(models, base, compared)
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out / COMPARISON, found.json() + "\n")
    report.write(out, found.models, base, compared)
    return found


def _measured(
    each: Subject | Known, items: Sequence[EvalSet], settings: Settings, out: Path
) -> Mapping[str, Any]:
    if isinstance(each, Known):
        return each.measured
    return measure(each, items, settings, out / each.name)
