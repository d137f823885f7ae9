"""Compares a table with odd partition values with its raw file. Usage: partition_values.py RAW_FILE LAKE"""
import json
import sys

import pyarrow
from tables import Lake


def main(raw_file, folder):
    lake = Lake(folder)
    with open(raw_file, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    schema = pyarrow.schema([("id", pyarrow.int32()), ("place", pyarrow.string())])
    got = lake.load("curated.items").select(["id", "place"])
    lake.expect_same("curated.items", got, pyarrow.Table.from_pylist(rows, schema))
    print(json.dumps({"rows": got.num_rows}))
    lake.finish()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
