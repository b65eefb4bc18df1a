// A tracer that we did not write: Brave, through each of zipkin-reporter's senders that the README names.
//
// Usage: java -cp JARS Brave.java HOST HTTP_PORT SCRIBE_PORT COUNT
// Prints one line of JSON: {"SENDER": [trace ids], ...}; each trace has two spans of the service SENDER. A sender that
// is answered no ends this with an error: the reporter's own metrics tell.

import brave.Span;
import brave.Tracing;
import brave.handler.SpanHandler;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import zipkin2.reporter.AsyncReporter;
import zipkin2.reporter.BytesMessageSender;
import zipkin2.reporter.Encoding;
import zipkin2.reporter.InMemoryReporterMetrics;
import zipkin2.reporter.brave.AsyncZipkinSpanHandler;
import zipkin2.reporter.brave.ZipkinSpanHandler;
import zipkin2.reporter.libthrift.LibthriftSender;
import zipkin2.reporter.okhttp3.OkHttpSender;
import zipkin2.reporter.urlconnection.URLConnectionSender;

class Brave {
    static final InMemoryReporterMetrics metrics = new InMemoryReporterMetrics();

    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        String http = "http://" + host + ":" + arguments[1] + "/api/v2/spans";
        int scribe = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        List<String> report = new ArrayList<>();

        try (URLConnectionSender sender = URLConnectionSender.create(http)) {
            report.add(overHttp("urlconnection", sender, count));
        }
        try (OkHttpSender sender = OkHttpSender.newBuilder().endpoint(http).encoding(Encoding.PROTO3).build()) {
            report.add(overHttp("okhttp3", sender, count));
        }
        try (LibthriftSender sender = LibthriftSender.newBuilder().host(host).port(scribe).build();
                // Brave encodes JSON and proto3 by itself. Thrift is zipkin2's, so the reporter is one of its spans.
                AsyncReporter<zipkin2.Span> reporter = AsyncReporter.builder(sender).metrics(metrics).build()) {
            report.add(traces("libthrift", ZipkinSpanHandler.create(reporter), count));
            reporter.flush();
        }

        if (metrics.spansDropped() > 0 || metrics.messagesDropped() > 0) {
            throw new IllegalStateException("refused: " + metrics.messagesDroppedByCause());
        }
        System.out.println('{' + String.join(",", report) + '}');
    }

    static String overHttp(String service, BytesMessageSender sender, int count) {
        try (AsyncZipkinSpanHandler handler = AsyncZipkinSpanHandler.newBuilder(sender).metrics(metrics).build()) {
            String report = traces(service, handler, count);
            handler.flush();
            return report;
        }
    }

    static String traces(String service, SpanHandler handler, int count) {
        List<String> ids = new ArrayList<>();
        try (Tracing tracing =
                Tracing.newBuilder().localServiceName(service).traceId128Bit(true).addSpanHandler(handler).build()) {
            for (int number = 0; number < count; number++) {
                Span root = tracing.tracer().newTrace().name("root").start();
                Span call = tracing.tracer().newChild(root.context()).kind(Span.Kind.CLIENT).name("call");
                call.remoteIpAndPort("192.0.2.7", 5432);
                call.start().annotate("halfway").tag("http.path", "/ünïcode/" + number).finish();
                root.finish();
                ids.add(root.context().traceIdString());
            }
        }
        return '"' + service + "\":[" + ids.stream().map(id -> '"' + id + '"').collect(Collectors.joining(",")) + ']';
    }
}
