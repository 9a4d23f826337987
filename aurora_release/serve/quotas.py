"""What keys have left of their day, in a small file, so that a restart gives none of it back."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aurora_release import atomic
from aurora_release.errors import AuroraError
from aurora_release.serve.keys import ApiKeys

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Left:
    """What one key had left at some time."""

    tokens_per_day: int
    """Its limit then; with another one it begins anew."""
    tokens: float
    """Below 0 where one request took more than a whole day's."""
    at: float
    """Seconds since 1970."""


class QuotaFile:
    """A JSON object from names of keys to what they have left; for one server at a time.

    It is replaced whole, so it is never half written. Neither keys nor their digests are in it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._failing = False

    def read(self) -> dict[str, Left]:
        """Return what was written last; nothing where there is no file.

        Raises:
            AuroraError: it cannot be read as such a file.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AuroraError(
                f"{self._path} cannot be read ({error.strerror}): what keys have used today is "
                "kept there; name another file with --quota-file."
            ) from None
        try:
            return {str(name): _left(**entry) for name, entry in json.loads(content).items()}
        except (ValueError, TypeError, AttributeError):
            raise AuroraError(
                f"{self._path} does not say what keys have used today: delete it, and all keys "
                "begin a new day, or name another file with --quota-file."
            ) from None

    def check(self) -> None:
        """Write what is known already, so that what fails fails at the start.

        Raises:
            AuroraError: the file cannot be read or written.
        """
        known = self.read()
        try:
            self._replace(known)
        except OSError as error:
            raise AuroraError(
                f"{self._path} cannot be written ({error.strerror}), and a key has "
                "tokens_per_day, of which a restart must give nothing back: name another file "
                "with --quota-file."
            ) from None

    def write(self, left: Mapping[str, Left]) -> None:
        """Replace the file; where that fails the log says so, and serving goes on."""
        try:
            self._replace(left)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("The quotas in %s cannot be written: %s.", self._path, error.strerror)
            self._failing = True

    def _replace(self, left: Mapping[str, Left]) -> None:
        content = {name: asdict(each) for name, each in sorted(left.items())}
        atomic.write_text(self._path, json.dumps(content, indent=1) + "\n")


def quota_file(keys: ApiKeys | None, key_file: Path | None, path: Path | None) -> QuotaFile | None:
    """Return where the quotas of `keys` are kept: `path`, or beside the file of the keys.

    Raises:
        AuroraError: there are no keys, or a key has a quota and the file cannot be written.
    """
    if keys is None or key_file is None:
        if path is not None:
            raise AuroraError("--quota-file: there are no keys; name them with --api-key-file.")
        return None
    found = QuotaFile(path or key_file.with_name(f"{key_file.name}.used"))
    if keys.have_quotas:
        found.check()
    return found


def _left(tokens_per_day: int, tokens: float, at: float) -> Left:
    return Left(int(tokens_per_day), float(tokens), float(at))
