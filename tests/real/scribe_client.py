"""A Scribe client that we did not write: thriftpy2, both message headers, v1 spans, fb303.

Usage: scribe_client.py HOST PORT COUNT
Prints one line of JSON: {"traces": [hex, ...], "status": int, "name": text}. Any answer but OK ends it with an error.
"""
import base64
import io
import json
import sys
import time

import thriftpy2
from thriftpy2.protocol.binary import TBinaryProtocol, TBinaryProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.transport import TMemoryBuffer
# The pure one: the compiled one refuses the slices that the pure protocol hands it.
from thriftpy2.transport.framed import TFramedTransportFactory

SCRIBE = """
enum ResultCode { OK, TRY_LATER }
enum fb_status { DEAD = 0, STARTING = 1, ALIVE = 2, STOPPING = 3, STOPPED = 4, WARNING = 5 }
struct LogEntry { 1: string category, 2: string message }
service scribe {
  ResultCode Log(1: list<LogEntry> messages)
  string getName()
  fb_status getStatus()
  map<string, i64> getCounters()
}
"""

CORE = """
struct Endpoint { 1: i32 ipv4, 2: i16 port, 3: string service_name, 4: optional binary ipv6 }
struct Annotation { 1: i64 timestamp, 2: string value, 3: optional Endpoint host }
enum AnnotationType { BOOL, BYTES, I16, I32, I64, DOUBLE, STRING }
struct BinaryAnnotation { 1: string key, 2: binary value, 3: AnnotationType annotation_type, 4: optional Endpoint host }
struct Span {
  1: i64 trace_id, 3: string name, 4: i64 id, 5: optional i64 parent_id, 6: list<Annotation> annotations,
  8: list<BinaryAnnotation> binary_annotations, 9: optional bool debug, 10: optional i64 timestamp,
  11: optional i64 duration, 12: optional i64 trace_id_high
}
"""

scribe = thriftpy2.load_fp(io.StringIO(SCRIBE), "scribe_thrift")
core = thriftpy2.load_fp(io.StringIO(CORE), "core_thrift")


def span(trace_id, number):
    host = core.Endpoint(ipv4=0x7F000001, port=8080, service_name="thriftpy2")
    start = int(time.time() * 1_000_000)
    return core.Span(
        trace_id=trace_id,
        name="python-%d" % number,
        id=trace_id + 1,
        annotations=[
            core.Annotation(timestamp=start, value="cs", host=host),
            core.Annotation(timestamp=start + 1500, value="cr", host=host),
        ],
        binary_annotations=[
            core.BinaryAnnotation(
                key="http.path",
                value=("/ünïcode/%d" % number).encode("utf-8"),
                annotation_type=core.AnnotationType.STRING,
                host=host,
            )
        ],
        timestamp=start,
        duration=1500,
    )


def entry(one):
    memory = TMemoryBuffer()
    one.write(TBinaryProtocol(memory))
    return scribe.LogEntry(category="zipkin", message=base64.b64encode(memory.getvalue()).decode("ascii"))


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    traces = []
    for strict in (True, False):
        client = make_client(
            scribe.scribe,
            host,
            port,
            proto_factory=TBinaryProtocolFactory(strict_read=strict, strict_write=strict),
            trans_factory=TFramedTransportFactory(),
            timeout=10_000,
        )
        for number in range(count):
            trace_id = 0x70_0000_0000 + (0x1000_0000 if strict else 0) + 16 * number
            answer = client.Log([entry(span(trace_id, number))])
            if answer != scribe.ResultCode.OK:
                sys.exit("Log answered %r" % answer)
            traces.append("%016x" % trace_id)
        if client.Log([]) != scribe.ResultCode.OK:
            sys.exit("an empty Log must be OK")
        status, name = client.getStatus(), client.getName()
        if not isinstance(client.getCounters(), dict):
            sys.exit("getCounters must be a map")
        client.close()
    print(json.dumps({"traces": traces, "status": status, "name": name}))


main()
