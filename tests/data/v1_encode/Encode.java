import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import zipkin2.Endpoint;
import zipkin2.Span;
import zipkin2.codec.SpanBytesDecoder;
import zipkin2.codec.SpanBytesEncoder;

/** Writes encode.tsv: v2 spans, what Zipkin makes of them in v1, and what it reads back (ORIGIN.md). */
class Encode {
  static final long T = 1_767_225_600_000_000L;
  static final Endpoint FE = endpoint("Frontend", "127.0.0.1", 8080);
  static final Endpoint BE = endpoint("backend", "192.168.99.101", 59000);
  static final Endpoint SIX = endpoint("six", "2001:db8::c001", 0);
  static final Endpoint BARE = endpoint(null, "10.0.0.1", 0);
  static final Endpoint NAMED = endpoint("named", null, 0);
  static final String[] CORE = {"cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr"};

  static int count;

  public static void main(String[] arguments) {
    for (Span.Kind kind : kinds()) {
      for (int bits = 0; bits < 32; bits++) {
        Span.Builder span = span().kind(kind);
        if ((bits & 1) != 0) span.timestamp(T);
        if ((bits & 2) != 0) span.duration(900);
        if ((bits & 4) != 0) span.localEndpoint(FE);
        if ((bits & 8) != 0) span.remoteEndpoint(BE);
        if ((bits & 16) != 0) span.shared(true);
        row(kind + " " + (bits & 1) + (bits >> 1 & 1) + (bits >> 2 & 1) + (bits >> 3 & 1) + (bits >> 4), span);
      }
      for (String value : CORE) {
        for (long at : new long[] {T - 5, T + 300, T + 2_000}) {
          row(kind + " and " + value + "@" + (at - T), whole(kind).addAnnotation(at, value));
          row(kind + ", no time, and " + value + "@" + (at - T), span().kind(kind).localEndpoint(FE).remoteEndpoint(BE)
              .addAnnotation(at, value));
        }
      }
      for (String key : new String[] {"sa", "ca", "ma", "lc"}) {
        for (String value : new String[] {"", "1", "text"}) {
          row(kind + " and tag " + key + "=" + value, whole(kind).putTag(key, value).putTag("zz", "last"));
        }
      }
      for (Endpoint local : new Endpoint[] {FE, SIX, BARE, NAMED}) {
        row(kind + " to itself " + local, whole(kind).localEndpoint(local).remoteEndpoint(local));
      }
      row(kind + " of one service, two hosts", whole(kind).remoteEndpoint(endpoint("Frontend", "10.9.9.9", 1)));
    }
    row("local", span().timestamp(T).duration(5).localEndpoint(FE));
    row("local with an event", span().timestamp(T).duration(5).localEndpoint(FE).addAnnotation(T + 1, "foo"));
    row("an event at 0", span().localEndpoint(FE).addAnnotation(0, "zero").addAnnotation(7, "seven"));
    row("an event before 1970", span().localEndpoint(FE).addAnnotation(-7, "early"));
    row("a tag of nothing", span().localEndpoint(FE).putTag("", ""));
    row("128 bits", whole(Span.Kind.CLIENT).traceId("463ac35c9f6413ad48485a3953bb6124").parentId("9"));
    row("ids beyond the sign", span().traceId("fffffffffffffffe").parentId("fffffffffffffffd").id("fffffffffffffffc"));
    row("debug", whole(Span.Kind.SERVER).debug(true));
    row("no name, no service", Span.newBuilder().traceId("1").id("2").kind(Span.Kind.CLIENT).timestamp(T)
        .duration(9).localEndpoint(BARE).putTag("a", "b"));
    row("both addresses", whole(Span.Kind.CLIENT).localEndpoint(
        Endpoint.newBuilder().serviceName("x").ip("1.2.3.4").ip("2001:db8::1").port(80).build()));
    row("texts", whole(Span.Kind.CLIENT).name("gét \"/\" \\ \u0001").putTag("k\t\u2028", "v\n☕🦀</x>")
        .addAnnotation(T + 3, "päuse\r\f\b"));
    row("times that overflow", whole(Span.Kind.CLIENT).timestamp(Long.MAX_VALUE - 5).duration(Long.MAX_VALUE - 9));
    random();
  }

  /** Few values, so that equalities happen. */
  static void random() {
    Random random = new Random(20261121);
    Endpoint[] hosts = {null, null, FE, BE, SIX, BARE, NAMED, endpoint("frontend", "10.0.0.7", 7)};
    String[] values = {"foo", "cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr", "csf", "error", "é"};
    String[] keys = {"a", "http.path", "error", "lc", "sa", "ca", "ma", "zz"};
    for (int n = 0; n < 300; n++) {
      Span.Builder span = Span.newBuilder().id(random.nextInt(3) + 1);
      span.traceId(random.nextInt(3) == 0 ? random.nextLong() | 1 : 0, random.nextInt(2) + 1);
      if (random.nextBoolean()) span.parentId(random.nextInt(3) + 1);
      if (random.nextInt(4) > 0) span.name("get");
      span.kind(kinds()[random.nextInt(5)]);
      if (random.nextInt(3) > 0) span.timestamp(T + random.nextInt(4) * 100);
      if (random.nextInt(3) > 0) span.duration(random.nextInt(4) * 100);
      span.localEndpoint(hosts[random.nextInt(hosts.length)]);
      span.remoteEndpoint(hosts[random.nextInt(hosts.length)]);
      for (int left = random.nextInt(4); left > 0; left--) {
        span.addAnnotation(T + random.nextInt(8) * 50, values[random.nextInt(values.length)]);
      }
      for (int left = random.nextInt(4); left > 0; left--) {
        span.putTag(keys[random.nextInt(keys.length)], random.nextInt(3) == 0 ? "" : "text");
      }
      if (random.nextInt(4) == 0) span.debug(true);
      if (random.nextInt(4) == 0) span.shared(true);
      row("random", span);
    }
  }

  static Span.Kind[] kinds() {
    return new Span.Kind[] {null, Span.Kind.CLIENT, Span.Kind.SERVER, Span.Kind.PRODUCER, Span.Kind.CONSUMER};
  }

  static Endpoint endpoint(String name, String ip, int port) {
    return Endpoint.newBuilder().serviceName(name).ip(ip).port(port).build();
  }

  static Span.Builder span() {
    return Span.newBuilder().traceId("1").id(Integer.toHexString(++count)).name("Get /");
  }

  static Span.Builder whole(Span.Kind kind) {
    return span().kind(kind).timestamp(T).duration(900).localEndpoint(FE).remoteEndpoint(BE);
  }

  static void row(String name, Span.Builder builder) {
    List<Span> spans = new ArrayList<>(List.of(builder.build()));
    byte[] thrift = SpanBytesEncoder.THRIFT.encodeList(spans);
    byte[] json = SpanBytesEncoder.JSON_V1.encodeList(spans);
    System.out.println(String.join("\t", escaped(name.getBytes(StandardCharsets.UTF_8)),
        hex(SpanBytesEncoder.PROTO3.encodeList(spans)), hex(thrift), back(SpanBytesDecoder.THRIFT, thrift),
        escaped(json), back(SpanBytesDecoder.JSON_V1, json)));
  }

  static String back(SpanBytesDecoder decoder, byte[] list) {
    try {
      return hex(SpanBytesEncoder.PROTO3.encodeList(decoder.decodeList(list)));
    } catch (RuntimeException refused) {
      return refused.getMessage();
    }
  }

  static String hex(byte[] bytes) {
    StringBuilder out = new StringBuilder();
    for (byte b : bytes) out.append(String.format("%02x", b));
    return out.toString();
  }

  static String escaped(byte[] bytes) {
    StringBuilder out = new StringBuilder();
    for (byte b : bytes) {
      if (b < 0x20 || b > 0x7e || b == '%') out.append(String.format("%%%02x", b));
      else out.append((char) b);
    }
    return out.toString();
  }
}
