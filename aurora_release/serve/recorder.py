"""What was decided about the texts of one request, on its way to those who want to know."""

from collections.abc import Callable

from aurora_release.safety.stream import TEXT, Outcome, Release, Segment
from aurora_release.serve.audit import AuditLog, Decision
from aurora_release.serve.callers import Caller
from aurora_release.serve.judging import Judged
from aurora_release.serve.metrics import Metrics


class Recorder:
    """Tells the decisions about one request to metrics, trace, audit log and page."""

    def __init__(
        self,
        request: str,
        metrics: Metrics,
        caller: Caller,
        audit: AuditLog | None,
        listener: Callable[[Decision], None] | None,
    ):
        self._request = request
        self._metrics = metrics
        self._caller = caller
        self._audit = audit
        self._listener = listener

    def input(self, part: int, text: str, judged: Judged) -> None:
        """Record what was decided about a text of the prompt."""
        self._record(part, "input", Segment(TEXT, 0, text, ()), judged.verdict.action, judged)

    def output(self, part: int, release: Release, judged: Judged) -> None:
        """Record what was decided about a segment of an answer."""
        self._record(part, "output", release.segment, release.outcome, judged)

    def _record(
        self, part: int, direction: str, segment: Segment, action: Outcome, judged: Judged
    ) -> None:
        verdict, kind = judged.verdict, segment.channel.kind
        decision = Decision(
            request=self._request,
            part=part,
            direction=direction,
            channel=f"{kind} {segment.channel.index}" if kind == "tool" else kind,
            position=segment.position,
            characters=len(segment.text),
            action=action,
            category=verdict.category,
            score=verdict.score,
            language=verdict.language,
            guards=verdict.asked,
            failure=judged.failure,
            milliseconds=round(1000 * judged.seconds, 3),
            http_request=self._caller.request,
            key=self._caller.key,
        )
        self._metrics.decision(decision)
        self._caller.trace.judged(decision)
        if self._listener is not None:
            self._listener(decision)
        if self._audit is not None:
            self._audit.write(decision, segment.text)
