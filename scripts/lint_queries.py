"""Parses the queries of a Grafana dashboard as Prometheus does: python lint_queries.py FILE."""

import json
import sys
from pathlib import Path

import promql_parser


def main() -> None:
    """Say which query does not parse, and end with 1 if one does not, or if there is none."""
    board = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    wrong = 0
    for query in queries:
        try:
            promql_parser.parse(query)
        except ValueError as error:
            wrong += 1
            sys.stderr.write(f"{sys.argv[1]}: {query}: {error}\n")
    sys.stdout.write(f"{sys.argv[1]}: {len(queries) - wrong} of {len(queries)} queries parse\n")
    sys.exit(wrong > 0 or not queries)


if __name__ == "__main__":
    main()
