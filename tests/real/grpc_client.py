"""A gRPC client that we did not write: grpcio, as it is and with gzip.

Usage: grpc_client.py HOST PORT COUNT
Prints one line of JSON: {"traces": [hex, ...], "spans": int, "refused": [status names]}. The list of spans is put
together here, by the table of zipkin.proto; what carries it is grpcio's own. Any status but OK for a good list ends
this with an error.
"""
import json
import os
import sys
import time

import grpc

REPORT = "/zipkin.proto3.SpanService/Report"


def field(number, payload):
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def span(trace_id, number):
    timestamp = bytes([6 << 3 | 1]) + int(time.time() * 1e6).to_bytes(8, "little")
    local = field(8, field(1, b"grpcio"))
    return field(1, field(1, trace_id) + field(3, bytes([0] * 7 + [number])) + field(5, b"call") + timestamp + local)


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    traces, spans, refused = [], 0, []
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        with grpc.insecure_channel("%s:%d" % (host, port), compression=compression) as channel:
            report = channel.unary_unary(REPORT)
            for _ in range(count):
                trace_id = os.urandom(16)
                if report(span(trace_id, 1) + span(trace_id, 2), timeout=10) != b"":
                    raise SystemExit("a reply that is not empty")
                traces.append(trace_id.hex())
                spans += 2
            try:
                report(field(1, field(1, bytes(8))), timeout=10)
            except grpc.RpcError as error:
                refused.append(error.code().name)
    print(json.dumps({"traces": traces, "spans": spans, "refused": refused}))


main()
