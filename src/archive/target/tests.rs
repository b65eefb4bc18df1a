use super::*;

#[test]
fn a_url_has_one_form() {
    for (text, form) in [
        ("s3://spans", "s3://spans"),
        ("s3://spans/", "s3://spans"),
        ("s3://spans/a=b/100%/", "s3://spans/a=b/100%"),
        ("gs://my.bucket_1/x", "gs://my.bucket_1/x"),
        ("az://container/x/y", "az://container/x/y"),
        ("hdfs://namenode.example.org:9000/spans/", "hdfs://namenode.example.org:9000/spans"),
        ("hdfs://namenode:8020/", "hdfs://namenode"),
        ("hdfs://Bulk_1/a=b/50%", "hdfs://Bulk_1/a=b/50%"),
    ] {
        assert_eq!(Remote::parse(text).map(|remote| remote.url()).as_deref(), Some(form), "{text}");
    }
}

#[test]
fn what_is_no_place_in_a_store_is_refused() {
    for text in [
        "s3:///x",
        "s3://",
        "s3://ab",
        "s3://Spans",
        "s3://spans//x",
        "s3://spans/../x",
        "s3://spans/./x",
        "s3://spans/a b",
        "s3://spans/?x",
        "s3://key:secret@spans/x",
        "s3a://spans/x",
        "http://spans/x",
        "spans/x",
        "s3://späns/x",
        "S3://spans/x",
        "hdfs:///spans",
        "hdfs://",
        "hdfs://namenode:/x",
        "hdfs://namenode:0/x",
        "hdfs://namenode:08020/x",
        "hdfs://namenode:65536/x",
        "hdfs://namenode:1:2/x",
        "hdfs://me@namenode/x",
        "hdfs://[::1]:8020/x",
        "hdfs://namenode/a:b",
        "hdfs://namenode/../x",
        "viewfs://bulk/x",
    ] {
        assert_eq!(Remote::parse(text), None, "{text}");
    }
    assert_eq!(Remote::parse(&format!("s3://spans/{}", "x".repeat(513))), None);
}

#[test]
fn an_endpoint_is_a_scheme_and_a_host() {
    assert_eq!(endpoint_form("http://minio:9000/").as_deref(), Some("http://minio:9000"));
    assert_eq!(endpoint_form("https://s3.example.org").as_deref(), Some("https://s3.example.org"));
    for text in ["minio:9000", "http://", "http:///x", "ftp://minio", "http://me:secret@minio", "http://minio/?x"] {
        assert_eq!(endpoint_form(text), None, "{text}");
    }
}
