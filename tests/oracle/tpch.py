"""Compares the tables of TPC-H's queries with DuckDB's answers over the same raw files.

Usage: tpch.py RAW LAKE COLUMNS QUERIES
RAW holds a folder of JSON lines for each table, COLUMNS is a JSON file of each table's columns and types, QUERIES a folder
of qNN.sql. Prints the row counts as JSON. Exit code 1, and one line for each difference, if there is one.
"""
import json
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
from deltalake import DeltaTable


def plain(value):
    """A value that compares across engines: averages of decimals have other digits in each."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return f"{float(value):.9e}"
    return str(value)


def rows_of(rows):
    return sorted(tuple(plain(value) for value in row) for row in rows)


def main(raw, folder, columns, queries):
    connection = duckdb.connect()
    connection.sql("CREATE SCHEMA staging")
    for table, types in json.loads(Path(columns).read_text()).items():
        files = sorted(str(path) for path in Path(raw, table).glob("*.json"))
        connection.execute(
            f"CREATE TABLE staging.{table} AS FROM read_json(?, columns = {types}, format = 'newline_delimited')", [files])
    counts, failures = {}, []
    for query in sorted(Path(queries).glob("q*.sql")):
        expected = rows_of(connection.execute(query.read_text()).fetchall())
        table = DeltaTable(str(Path(folder, "curated", query.stem))).to_pyarrow_table()
        got = rows_of(zip(*(column.to_pylist() for column in table.columns)) if table.num_rows else [])
        counts[query.stem] = len(got)
        if got != expected:
            pairs = [(a, b) for a, b in zip(got, expected) if a != b][:2]
            failures.append(f"{query.stem}: {len(got)} rows, expected {len(expected)}; first differences {pairs}")
    print(json.dumps(counts))
    if failures:
        print("\n".join(failures), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:5])
