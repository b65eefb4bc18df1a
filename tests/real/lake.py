"""Compares the spans of Parquet objects, read by pyarrow and counted by DuckDB, with those of the JSON lines."""
import collections
import datetime
import glob
import gzip
import json
import subprocess
import sys

import duckdb
import pyarrow
import pyarrow.parquet

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
parquet, lines, zstd = sys.argv[1:]


def micros(time):
    return (time - EPOCH) // datetime.timedelta(microseconds=1)


def endpoint(row, side):
    names = {"serviceName": "service_name", "ipv4": "ipv4", "ipv6": "ipv6", "port": "port"}
    found = {key: row[f"{side}_{column}"] for key, column in names.items() if row[f"{side}_{column}"] is not None}
    return {f"{side}Endpoint": found} if found else {}


def span(row):
    """A row as Zipkin's JSON has it."""
    plain = {"traceId": "trace_id", "parentId": "parent_id", "id": "id", "kind": "kind", "name": "name",
             "duration": "duration"}
    out = {key: row[column] for key, column in plain.items() if row[column] is not None}
    if row["timestamp"] is not None:
        out["timestamp"] = micros(row["timestamp"])
    out.update(endpoint(row, "local"))
    out.update(endpoint(row, "remote"))
    if row["annotations"]:
        out["annotations"] = [{"timestamp": micros(a["timestamp"]), "value": a["value"]} for a in row["annotations"]]
    if row["tags"]:
        out["tags"] = dict(row["tags"])
    out.update({key: True for key in ("debug", "shared") if row[key]})
    return out


def counted(spans):
    return collections.Counter(json.dumps(s, sort_keys=True) for s in spans)


files = sorted(glob.glob(f"{parquet}/**/*.parquet", recursive=True))
rows = [row for file in files for row in pyarrow.parquet.ParquetFile(file).read().to_pylist()]
from_parquet = counted(map(span, rows))
texts = [gzip.open(file).read() for file in glob.glob(f"{lines}/*.jsonl.gz")]
from_lines = counted(json.loads(line) for text in texts for line in text.decode().splitlines())
assert from_parquet == from_lines, (from_parquet - from_lines, from_lines - from_parquet)
assert all(dict(row["origin"])["listener"] == "http" for row in rows)

connection = duckdb.connect()


def one(query):
    return connection.sql(query).fetchall()[0]


count, distinct = one(f"select count(*), count(distinct (trace_id, id, kind)) from '{parquet}/**/*.parquet'")
assert count == distinct == len(rows), (count, distinct, len(rows))
# Both readers of JSON lines, too: DuckDB is particular about gzip headers.
for pattern in (f"{lines}/*.jsonl.gz", f"{zstd}/**/*.jsonl.zst"):
    assert one(f"select count(*) from read_json('{pattern}', union_by_name = true)") == (count,), pattern
types = {name: str(kind) for name, kind, *_ in connection.sql(f"describe select * from '{parquet}/**/*.parquet'").fetchall()}
expected = {"trace_id": "VARCHAR", "timestamp": "TIMESTAMP WITH TIME ZONE", "duration": "BIGINT",
            "tags": "MAP(VARCHAR, VARCHAR)", "local_port": "INTEGER", "debug": "BOOLEAN"}
assert {name: types[name] for name in expected} == expected, types
print(f"{count} spans equal in {len(files)} Parquet objects and the JSON lines")
