"""A Zipkin HTTP client that we did not write: py_zipkin's tracer, in JSON v1, JSON v2 and proto3.

Usage: http_client.py HOST PORT COUNT
Prints one line of JSON: {"traces": [hex, ...], "spans": int}. Its transport takes any answer but 202 for an error,
which ends this.
"""
import json
import sys

from py_zipkin import Encoding
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.util import generate_random_128bit_string, generate_random_64bit_string
from py_zipkin.zipkin import ZipkinAttrs, zipkin_span


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    traces, spans = [], 0
    for encoding in (Encoding.V1_JSON, Encoding.V2_JSON, Encoding.V2_PROTO3):
        for number in range(count):
            trace_id = generate_random_128bit_string() if number % 2 else generate_random_64bit_string()
            attrs = ZipkinAttrs(trace_id, generate_random_64bit_string(), None, "0", True)
            with zipkin_span(
                service_name="py_zipkin",
                span_name="root",
                transport_handler=SimpleHTTPTransport(host, port),
                zipkin_attrs=attrs,
                encoding=encoding,
                host="127.0.0.1",
                port=8080,
                binary_annotations={"encoding": str(encoding), "wörd": "ünïcode"},
            ):
                with zipkin_span(service_name="py_zipkin", span_name="child") as child:
                    child.add_annotation("halfway")
            traces.append(trace_id)
            spans += 2
    print(json.dumps({"traces": traces, "spans": spans}))


main()
