"""From the `guards` of a policy to something that judges."""

from pathlib import Path

from aurora_release import parse
from aurora_release.safety.guards import llama_guard, qwen3guard, shieldgemma, wildguard
from aurora_release.safety.guards.builtin import BuiltIn
from aurora_release.safety.guards.cascade import Cascade
from aurora_release.safety.guards.dialect import Dialect, ModelGuard, Transport
from aurora_release.safety.guards.local import LocalModel
from aurora_release.safety.guards.protocol import GuardModel
from aurora_release.safety.guards.server import Server
from aurora_release.safety.policy import GuardSettings, Policy

DIALECTS: dict[str, Dialect] = {
    module.DIALECT.kind: module.DIALECT
    for module in (llama_guard, qwen3guard, shieldgemma, wildguard)
}


def load_guards(policy: Policy, beside: Path) -> GuardModel:
    """Return the guards of a policy that lies in the folder `beside`, as one.

    Raises:
        AuroraError: a head, a model folder or a key file cannot be read.
    """
    guards = [(_load(policy, settings, beside), settings.unsure) for settings in policy.guards]
    return guards[0][0] if len(guards) == 1 else Cascade(guards)


def _load(policy: Policy, settings: GuardSettings, beside: Path) -> GuardModel:
    if settings.kind == "classifier":
        return BuiltIn.load(policy, beside)
    transport = _transport(settings, beside)
    return ModelGuard(DIALECTS[settings.kind], transport, settings.threshold)


def _transport(settings: GuardSettings, beside: Path) -> Transport:
    if settings.folder is not None:
        return LocalModel.load(beside / settings.folder, settings.timeout_seconds)
    assert settings.url is not None and settings.model is not None  # the policy was checked
    key = None if settings.api_key_file is None else parse.key_file(beside / settings.api_key_file)
    return Server(settings.url, settings.model, key, settings.timeout_seconds)
