"""Which documents are held out: decided by their identity alone, before anything else."""

import hashlib


def held_out(group: str, share: float) -> bool:
    """Return whether a group of documents (a page and its translations, a pair and its twin) is
    kept out of training.

    Independent of seed, order and corpus size, so that a growing corpus never moves a document
    from one side to the other; a larger share holds out a superset.
    """
    digest = hashlib.sha256(f"held-out:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
