"""OpenTelemetry's SDK, which we did not write, with both of its Zipkin exporters: JSON v2 and proto3 over HTTP.

Usage: otel_client.py HOST PORT COUNT
Prints one line of JSON: {"traces": [hex, ...], "spans": int}. The endpoint comes by the variable that the README names.
A batch that is not accepted ends this with an error.
"""
import json
import os
import sys

from opentelemetry.exporter.zipkin.json import ZipkinExporter as JsonExporter
from opentelemetry.exporter.zipkin.proto.http import ZipkinExporter as ProtoExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode


def checked(exporter):
    """The exporter, its answers looked at: the processor that calls it drops them."""
    export = exporter.export

    def watched(spans):
        result = export(spans)
        if result is not SpanExportResult.SUCCESS:
            print("not accepted: %d spans" % len(spans), file=sys.stderr)
            os._exit(1)
        return result

    exporter.export = watched
    return exporter


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ["OTEL_EXPORTER_ZIPKIN_ENDPOINT"] = "http://%s:%d/api/v2/spans" % (host, port)
    traces = []
    for exporter in (JsonExporter(), ProtoExporter()):
        provider = TracerProvider(resource=Resource.create({"service.name": "opentelemetry"}))
        provider.add_span_processor(BatchSpanProcessor(checked(exporter)))
        tracer = provider.get_tracer("tests/real")
        for number in range(count):
            with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
                root.set_attribute("wörd", "ünïcode")
                with tracer.start_as_current_span("child", kind=SpanKind.CLIENT) as child:
                    child.add_event("halfway", {"number": number})
                    child.set_status(Status(StatusCode.ERROR, "on purpose"))
            traces.append("%032x" % root.get_span_context().trace_id)
        provider.shutdown()
    print(json.dumps({"traces": traces, "spans": 2 * len(traces)}))


main()
