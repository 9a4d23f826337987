"""One HTML file that holds everything the evidence of a run says, and what it does not say."""

from pathlib import Path

from aurora_release import atomic, evidence, page
from aurora_release.card import chain as chains
from aurora_release.card.render import FILTERS, words
from aurora_release.card.report.drawings import drawings
from aurora_release.card.report.facts import facts
from aurora_release.card.report.found import Found
from aurora_release.errors import AuroraError

FILE = "report.html"
TEMPLATE = "model_card/report.html.j2"

_FILTERS = {**FILTERS, "plain": words, "short": words}


@chains.readable()
def html(found: Found) -> str:
    """Return the report; the same evidence gives the same bytes.

    Raises:
        AuroraError: matplotlib is not installed, or the links of the evidence go round.
    """
    from markupsafe import Markup

    said = facts(found)
    pictures = {name: Markup(svg) for name, svg in drawings(found, said).items()}
    return page.render(TEMPLATE, _FILTERS, **said, pictures=pictures)


def write(found: Found, path: Path) -> None:
    """Replace `path` by the report.

    Raises:
        AuroraError: as `html`; or `path` lies in a release, which holds only what was sealed.
    """
    if (path.parent / evidence.SUMS).is_file():
        raise AuroraError(f"{path.parent} is a sealed release: name a file elsewhere with --out.")
    content = html(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, content)
