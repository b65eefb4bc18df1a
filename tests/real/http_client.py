"""Zipkin HTTP clients that we did not write: py_zipkin's tracer, in JSON v2 and in proto3.

Usage: http_client.py HOST PORT COUNT
Prints one line of JSON: {"traces": [hex, ...], "spans": int}. py_zipkin posts from its own transport; any answer but
202 ends this with an error.
"""
import json
import sys
import urllib.request

from py_zipkin import Encoding
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.util import generate_random_128bit_string, generate_random_64bit_string
from py_zipkin.zipkin import ZipkinAttrs, zipkin_span


class Transport(BaseTransportHandler):
    def __init__(self, url, content_type):
        super().__init__()
        self.url, self.content_type = url, content_type

    def get_max_payload_bytes(self):
        return 500_000

    def send(self, payload):
        body = payload if isinstance(payload, bytes) else payload.encode("utf-8")
        request = urllib.request.Request(self.url, data=body, headers={"content-type": self.content_type})
        with urllib.request.urlopen(request, timeout=10) as answer:
            if answer.status != 202:
                raise SystemExit("answered %d" % answer.status)


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    url = "http://%s:%d/api/v2/spans" % (host, port)
    traces, spans = [], 0
    for encoding, content_type in ((Encoding.V2_JSON, "application/json"), (Encoding.V2_PROTO3, "application/x-protobuf")):
        for number in range(count):
            trace_id = generate_random_128bit_string() if number % 2 else generate_random_64bit_string()
            attrs = ZipkinAttrs(trace_id, generate_random_64bit_string(), None, "0", True)
            with zipkin_span(
                service_name="py_zipkin",
                span_name="root",
                transport_handler=Transport(url, content_type),
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
