//! The columns, and how each is packed. Part of encoder 1: a change here is another encoder.
//!
//! Endpoints are flat columns, so that statistics and filters on a service need no nested types. What a span may lack
//! is null; lists and maps are empty rather than null, `debug` and `shared` false.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// Its columns are filled in this order by [`Columns`](super::columns::Columns).
const SCHEMA: &str = "
message span {
  required binary trace_id (STRING);
  optional binary parent_id (STRING);
  required binary id (STRING);
  optional binary kind (STRING);
  optional binary name (STRING);
  optional int64 timestamp (TIMESTAMP(MICROS,true));
  optional int64 duration;
  optional binary local_service_name (STRING);
  optional binary local_ipv4 (STRING);
  optional binary local_ipv6 (STRING);
  optional int32 local_port;
  optional binary remote_service_name (STRING);
  optional binary remote_ipv4 (STRING);
  optional binary remote_ipv6 (STRING);
  optional int32 remote_port;
  required group annotations (LIST) {
    repeated group list {
      required group element {
        required int64 timestamp (TIMESTAMP(MICROS,true));
        required binary value (STRING);
      }
    }
  }
  required group tags (MAP) {
    repeated group key_value {
      required binary key (STRING);
      required binary value (STRING);
    }
  }
  required boolean debug;
  required boolean shared;
  required int64 received (TIMESTAMP(MICROS,true));
  required group origin (MAP) {
    repeated group key_value {
      required binary key (STRING);
      required binary value (STRING);
    }
  }
}";

/// False positives of a look for a trace id in a row group.
const BLOOM_FALSE_POSITIVES: f64 = 0.001;
/// zstd at 3 takes a fifth more time than at 1 and leaves a tenth less.
const LEVEL: i32 = 3;

pub fn schema() -> TypePtr {
    Arc::new(parse_message_type(SCHEMA).expect("the schema is a constant that a test parses"))
}

/// `rows`: the most rows of a row group, which sizes the Bloom filter; it is folded down to what it holds.
pub fn properties(rows: u64, facts: KeyValue) -> WriterProperties {
    let level = ZstdLevel::try_new(LEVEL).expect("a level of zstd");
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("spangate".to_owned())
        .set_key_value_metadata(Some(vec![facts]))
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    let trace_id = path("trace_id");
    builder = builder
        .set_column_bloom_filter_enabled(trace_id.clone(), true)
        .set_column_bloom_filter_fpp(trace_id.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(trace_id, rows.max(1));
    for random in ["parent_id", "id"] {
        builder = builder.set_column_dictionary_enabled(path(random), false);
    }
    for queried in ["local_service_name", "remote_service_name", "name", "timestamp", "duration", "received"] {
        builder = builder.set_column_statistics_enabled(path(queried), EnabledStatistics::Page);
    }
    for rising in ["timestamp", "received", "annotations.list.element.timestamp"] {
        builder = delta(builder, rising);
    }
    delta(builder, "duration").build()
}

/// Numbers near their neighbours: the differences are packed.
fn delta(builder: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    let column = path(column);
    builder
        .set_column_dictionary_enabled(column.clone(), false)
        .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
}

fn path(column: &str) -> ColumnPath {
    ColumnPath::new(column.split('.').map(str::to_owned).collect())
}
