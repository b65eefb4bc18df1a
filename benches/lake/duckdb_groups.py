"""How many row groups DuckDB's Bloom probe leaves for each trace id, and how long the query for one takes.

duckdb_groups.py DIR TRACE_ID...
"""

import sys
import time

import duckdb


def main(directory, *traces):
    objects = f"{directory}/**/*.parquet"
    connection = duckdb.connect()
    probe = "select count(*), count(*) filter (not bloom_filter_excludes) from parquet_bloom_probe(?, 'trace_id', ?)"
    left = []
    for trace in traces:
        groups, kept = connection.execute(probe, [objects, trace]).fetchone()
        left.append(kept)
    mean, most = sum(left) / len(left), max(left)
    print(f"- by DuckDB's probe: {mean:.2f} ({100 * mean / groups:.2f} %), at most {most} ({100 * most / groups:.2f} %)")
    query = "select id, kind, name, duration, local_service_name, tags from read_parquet(?) where trace_id = ?"
    times = []
    for trace in traces[:20]:
        begun = time.monotonic()
        spans = connection.execute(query, [objects, trace]).fetchall()
        times.append(time.monotonic() - begun)
        assert spans, f"{trace} is not found"
    times.sort()
    print(f"- DuckDB's query for all spans of one trace: {1000 * times[len(times) // 2]:.0f} ms")


main(*sys.argv[1:])
