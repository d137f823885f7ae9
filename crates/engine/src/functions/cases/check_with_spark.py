#!/usr/bin/env python3
"""Runs the case tables through Spark, in ANSI mode and UTC, and compares.

    python3 -m venv venv && venv/bin/pip install 'pyspark>=4,<5'          # needs Java 17
    venv/bin/python crates/engine/src/functions/cases/check_with_spark.py [--fill] [family ...]

A case is `expression <TAB> type <TAB> value`; the format is described in `tests.rs` beside this folder. `--fill` writes
what Spark gives into lines that hold nothing but an expression. The exit code is 1 if a case differs.
"""

import datetime
import decimal
import logging
import math
import pathlib
import re
import sys

from pyspark.sql import Row, SparkSession

HERE = pathlib.Path(__file__).parent
# Literals are typed differently on purpose (docs/sql.md): 1 is BIGINT, 1.5 is DOUBLE.
LITERAL_TYPES = [("int", "bigint"), (r"decimal\(\d+,\d+\)", "double")]


def render(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        text = value.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
        return "0" * (4 - len(text.split("-")[0])) + text
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return "x'" + value.hex() + "'"
    if isinstance(value, Row):
        return "{" + ", ".join(f"{k}: {render(v)}" for k, v in value.asDict().items()) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{render(k)}: {render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(render(v) for v in value) + "]"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def spark_answer(spark, expression):
    try:
        query = expression if expression.upper().startswith("SELECT ") else f"SELECT {expression}"
        frame = spark.sql(query)
        rows = frame.collect()
        value = " | ".join(", ".join(render(v) for v in row) for row in rows)
        types = ", ".join(field.dataType.simpleString() for field in frame.schema.fields)
        return types, value
    except Exception as error:
        return "error", str(error).split("\n")[0][:100]


def same_type(ours, spark):
    if ours == spark:
        return True
    for pattern, wider in LITERAL_TYPES:
        if ours == re.sub(rf"\b{pattern}(?!\w)", wider, spark):
            return True
    both = spark
    for pattern, wider in LITERAL_TYPES:
        both = re.sub(rf"\b{pattern}(?!\w)", wider, both)
    return ours == both


def same_value(ours, spark):
    if ours == spark:
        return True
    try:
        a, b = float(ours), float(spark)
    except ValueError:
        return False
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)


def main():
    arguments = sys.argv[1:]
    fill = "--fill" in arguments
    families = [a for a in arguments if not a.startswith("--")]
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.shuffle.partitions", "1")
        # A backslash in a literal is a backslash, as in our grammar.
        .config("spark.sql.parser.escapedStringLiterals", "true")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    logging.disable()
    differing = compared = 0
    for table in sorted(HERE.glob("*.tsv")):
        if families and table.stem not in families:
            continue
        lines = []
        for line in table.read_text().splitlines():
            if not line or line.startswith("#"):
                lines.append(line)
                continue
            expression, *expected = line.split("\t")
            types, value = spark_answer(spark, expression)
            if not expected and fill:
                lines.append(f"{expression}\t{types}\t{value}")
                continue
            lines.append(line)
            compared += 1
            both_fail = types == "error" and expected[0] == "error"
            same = both_fail or (same_type(expected[0], types) and same_value(expected[1], value))
            # A case with a fourth column is a difference that the docs name.
            if same == (len(expected) > 2):
                differing += 1
                what = "agrees although a difference is stated" if same else "differs"
                print(f"{table.name}: {expression}\n  {what}\n  ours  {expected}\n  spark {[types, value]}")
        if fill:
            table.write_text("\n".join(lines) + "\n")
    print(f"{compared} cases compared, {differing} not as stated")
    return 1 if differing else 0


if __name__ == "__main__":
    import os
    import time

    os.environ["TZ"] = "UTC"
    time.tzset()
    sys.exit(main())
