"""The errors a person can mend; everything else is a bug and keeps its traceback."""


class AuroraError(Exception):
    """One or two sentences: what was wrong (the value), where (file and key), what to do next."""


class Interrupted(AuroraError):
    """Work stopped by Ctrl-C or SIGTERM after it was saved; the same command goes on from there."""


def missing_extra(package: str, extra: str) -> AuroraError:
    """Return the error that names the pip command which brings `package`."""
    return AuroraError(
        f"{package} is not installed, and this command needs it: "
        f"pip install 'aurora-release[{extra}]'"
    )
