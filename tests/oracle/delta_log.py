"""Checks that a table's newest version is a compaction as Delta means it.

Usage: delta_log.py TABLE
Prints the number of actions as JSON. Exit code 1 and one line if an action says that rows have changed, or if what
deltalake makes of the history is something else.
"""
import json
import sys
from pathlib import Path

from deltalake import DeltaTable

folder = Path(sys.argv[1])
newest = DeltaTable(str(folder))
operation = newest.history(1)[0]["operation"]
if operation != "OPTIMIZE":
    sys.exit(f"the newest operation is {operation}")
lines = (folder / "_delta_log" / f"{newest.version():020}.json").read_text().splitlines()
actions = [json.loads(line) for line in lines]
files = [action[kind] for action in actions for kind in ("add", "remove") if kind in action]
if not files or any(file["dataChange"] for file in files):
    sys.exit(f"an add or a remove changes data: {files}")
before = DeltaTable(str(folder), version=newest.version() - 1)
if before.to_pyarrow_table().num_rows != newest.to_pyarrow_table().num_rows:
    sys.exit("the versions before and after have other numbers of rows")
print(json.dumps({"actions": len(files)}))
