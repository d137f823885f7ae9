"""Reads a lake's tables as other engines do, and compares them with expected rows.

A table is read four ways: Delta through `deltalake` into Arrow and from there into DuckDB, Delta by Polars, and each of
its data files alone by PyArrow and by DuckDB, as a plain Parquet reader would. All must give the same rows.
"""
import sys
from pathlib import Path
from urllib.parse import unquote

import duckdb
import polars
import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable


class Lake:
    """The tables below one folder, and a DuckDB connection that holds them as `<zone>.<table>`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.duckdb = duckdb.connect()
        self.duckdb.sql("SET timezone = 'UTC'")
        self.failures = []

    def load(self, name):
        """Makes the table `zone.table` known to DuckDB and returns its rows as Arrow."""
        zone, table = name.split(".")
        delta = DeltaTable(str(self.folder / zone / table))
        rows = delta.to_pyarrow_table()
        self.duckdb.sql(f"CREATE SCHEMA IF NOT EXISTS {zone}")
        self.duckdb.register("arrow_rows", rows)
        self.duckdb.sql(f'CREATE TABLE {zone}."{table}" AS SELECT * FROM arrow_rows')
        self.duckdb.unregister("arrow_rows")
        self._compare_readers(name, delta, rows)
        return rows

    def _compare_readers(self, name, delta, rows):
        """Every reader must see the rows that Arrow gives."""
        by_polars = polars.read_delta(str(delta.table_uri)).to_arrow()
        self.expect_same(f"{name} read by Polars", by_polars, rows)
        partition_columns = delta.metadata().partition_columns
        columns = [column for column in rows.column_names if column not in partition_columns]
        files = [local_path(uri) for uri in delta.file_uris()]
        if not files:
            return
        plain = rows.select(columns)
        # Through one file object each: given a path, the readers would take `column=value` folders for columns.
        parts = [pyarrow.parquet.ParquetFile(file).read() for file in files]
        self.expect_same(f"{name} as Parquet files read by PyArrow", pyarrow.concat_tables(parts).select(columns), plain)
        by_duckdb = self.duckdb.read_parquet(files, hive_partitioning=False).to_arrow_table()
        self.expect_same(f"{name} as Parquet files read by DuckDB", by_duckdb.select(columns), plain)

    def expect_same(self, what, got, expected):
        """Notes a failure unless two Arrow tables hold the same rows, in any order."""
        self.duckdb.register("got_rows", got)
        self.duckdb.register("expected_rows", expected)
        self.expect_equal(what, "SELECT * FROM got_rows", "SELECT * FROM expected_rows")
        self.duckdb.unregister("got_rows")
        self.duckdb.unregister("expected_rows")

    def expect_equal(self, what, got, expected):
        """Notes a failure unless two queries give the same rows, counting duplicates."""
        for verb, left, right in (("has too many", got, expected), ("lacks", expected, got)):
            rows = self.duckdb.execute(f"({left}) EXCEPT ALL ({right})").fetchall()
            if rows:
                self.failures.append(f"{what} {verb} {len(rows)} rows, such as {rows[0]}")

    def finish(self):
        """Prints the failures and ends the process."""
        for failure in self.failures:
            print(failure, file=sys.stderr)
        sys.exit(1 if self.failures else 0)


def local_path(uri):
    """The path of a file: deltalake gives a plain path or a `file://` URI, depending on its version."""
    return unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
