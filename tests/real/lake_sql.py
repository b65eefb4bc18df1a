"""Runs the statements of a file in DuckDB; each must give rows."""
import sys

import duckdb

connection = duckdb.connect()
for statement in open(sys.argv[1], encoding="utf-8").read().split(";"):
    if not statement.strip():
        continue
    # Counted, not fetched: Python's time zones would want another package.
    rows = connection.sql(f"select count(*) from ({statement})").fetchall()[0][0]
    assert rows > 0, statement
    print(f"{rows} rows:", " ".join(statement.split())[:100])
