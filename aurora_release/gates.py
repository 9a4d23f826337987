"""Rules of a recipe over evidence: what a release must not have lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aurora_release.recipe import Gates

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """What one rule found."""

    rule: str
    passed: bool
    sentence: str


def check(gates: Gates, measured: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return a finding for every rule, source and variant; what was not measured does not pass.

    `measured` is what each stage measured, by stage name; only evaluations are looked at.
    """
    rows: dict[str, dict[str, Rows]] = {"base": {}, "trained": {}, "final": {}, "variant": {}}
    for found in measured.values():
        if "bits_per_byte" in found:
            model = found["model"]
            rows[model["role"]][model["stage"]] = found["bits_per_byte"]
    base = next(iter(rows["base"].values()), {})
    final = next(iter(rows["final"].values()), {})
    findings = _trained(gates, base, final)
    if gates.max_variant_rise is not None:
        for name, variant in rows["variant"].items():
            findings.append(_variant(gates.max_variant_rise, name, final, variant))
    return findings


def _trained(gates: Gates, base: Rows, final: Rows) -> list[Finding]:
    """Return a finding for each source that `max_rise` limits, by its name or by `*`."""
    rest = gates.max_rise.get("*")
    limits = dict.fromkeys(base, rest) if rest is not None else {}
    limits |= {source: limit for source, limit in gates.max_rise.items() if source != "*"}
    if rest is not None and not base:
        limits["*"] = rest
    return [
        _source(f"max_rise.{source}", source, limit, base, final)
        for source, limit in limits.items()
    ]


def _source(rule: str, source: str, limit: float, base: Rows, final: Rows) -> Finding:
    if source not in base or source not in final:
        return Finding(rule, False, f"{source}: bits per byte was not measured before and after.")
    rise, numbers = _rise(base[source], final[source])
    words = "which keeps" if rise <= limit else "which breaks"
    sentence = f"{source}: {numbers} against the base model, {words} the limit of {limit:+.1%}."
    return Finding(rule, rise <= limit, sentence)


def _variant(limit: float, name: str, final: Rows, variant: Rows) -> Finding:
    """Return the finding of the source on which a variant lost most."""
    rule = f"max_variant_rise.{name}"
    lacking = sorted(final.keys() ^ variant.keys())
    if lacking or not final:
        what = ", ".join(lacking) or "bits per byte"
        return Finding(rule, False, f"{name}: {what} was not measured before and after.")
    worst = max(final, key=lambda source: _rise(final[source], variant[source])[0])
    rise, numbers = _rise(final[worst], variant[worst])
    words = "which keeps" if rise <= limit else "which breaks"
    return Finding(
        rule,
        rise <= limit,
        f"{name}, worst on {worst}: {numbers} against the trained model, "
        f"{words} the limit of {limit:+.1%}.",
    )


def _rise(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, str]:
    old, new = before["bits_per_byte"], after["bits_per_byte"]
    rise = new / old - 1
    return rise, f"bits per byte went from {old:.3f} to {new:.3f} ({rise:+.1%})"
