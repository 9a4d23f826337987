"""Wrong files are read as something sound or refused in a sentence, in bounded memory and time.

`AURORA_FUZZ=20000 pytest tests/hardening/test_parsers.py` tries so many of each, others every time.
"""

import pytest

from tests.hardening.fuzz import CASES, fuzz
from tests.hardening.parsers import Parser, parsers


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("parser", parsers(), ids=lambda parser: parser.name.replace(" ", "-"))
def test_wrong_files_are_read_or_refused(parser: Parser) -> None:
    found = fuzz(parser)
    assert found.failures == {}
    assert found.cases > CASES
    assert found.read < found.cases
