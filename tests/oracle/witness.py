"""Reads a table over and over while others write to it, and checks that each version that it sees is whole.

Usage: witness.py TABLE ROWS
The table has the columns `object` and `id`: of each object it must hold the ids 0 to ROWS - 1, each once, or none.
Reads until stdin ends, by deltalake and by Polars in turn, and prints `{"reads": ..., "versions": [...]}`. Exit code 1
and one line for the first version that is not whole, that goes back, or that cannot be read.
"""
import json
import sys
import threading
from pathlib import Path

import polars
from deltalake import DeltaTable

table, rows = Path(sys.argv[1]), int(sys.argv[2])
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()


def check(version, found):
    """Ends the process if an object has other rows than it must have."""
    counts = found.group_by("object").agg(polars.len().alias("rows"), polars.col("id").n_unique().alias("ids"))
    wrong = counts.filter((polars.col("rows") != rows) | (polars.col("ids") != rows))
    if wrong.height:
        sys.exit(f"version {version} is not whole: {wrong.to_dicts()[:3]}")


reads, versions = 0, []
print("reading", flush=True)
while True:
    last = ended.is_set()
    if (table / "_delta_log" / f"{0:020}.json").exists():
        delta = DeltaTable(str(table))
        version = delta.version()
        if reads % 2:
            found = polars.from_arrow(delta.to_pyarrow_table())
        else:
            found = polars.read_delta(str(table), version=version)
        check(version, found)
        if versions and version < versions[-1]:
            sys.exit(f"version {version} comes after {versions[-1]}")
        if not versions or version != versions[-1]:
            versions.append(version)
        reads += 1
    if last:
        break
print(json.dumps({"reads": reads, "versions": versions}))
