//! From a place to its store: what each ecosystem asks for, and where it keeps its credentials.
//!
//! Credentials, regions and proxies come from the variables that the ecosystem's own tools read
//! (`AWS_*`, `GOOGLE_*`, `AZURE_*`), from web identity, or from the machine's metadata service; HDFS has
//! them in Hadoop's own configuration. What our configuration says goes before them.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};

use super::bucket::{Bucket, reason};
use super::{Staging, Store, hdfs};
use crate::archive::target::{Connect, Remote, Scheme};

/// Within one try of ours: a busy store must not cost a large upload that has got far.
const RETRIES_MAX: usize = 3;

/// The store of a remote place, or why there can be none. Touches nothing.
pub fn connect(remote: &Remote, connect: &Connect, staging: Staging) -> Result<Arc<dyn Store>, String> {
    let bucket = match remote.scheme {
        Scheme::Hdfs => return hdfs::connect(remote, connect, staging),
        Scheme::S3 => s3(remote, connect, staging),
        Scheme::Gs => gs(remote, connect, staging),
        Scheme::Az => az(remote, connect, staging),
    };
    bucket.map(|bucket| Arc::new(bucket) as Arc<dyn Store>).map_err(|error| reason(&error))
}

fn s3(remote: &Remote, connect: &Connect, staging: Staging) -> Result<Bucket, object_store::Error> {
    let mut builder = variables(connect, "AWS_", AmazonS3Builder::new(), AmazonS3Builder::with_config)
        .with_bucket_name(&remote.bucket)
        .with_virtual_hosted_style_request(!connect.path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retries(connect));
    for (key, value) in client(remote, connect) {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    if let Some(region) = &connect.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &remote.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = Arc::new(builder.build()?);
    Ok(bucket(remote, connect, store.clone(), store, staging))
}

fn gs(remote: &Remote, connect: &Connect, staging: Staging) -> Result<Bucket, object_store::Error> {
    let mut builder =
        variables(connect, "GOOGLE_", GoogleCloudStorageBuilder::new(), GoogleCloudStorageBuilder::with_config)
            .with_bucket_name(&remote.bucket)
            .with_retry(retries(connect));
    for (key, value) in client(remote, connect) {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    if let Some(endpoint) = &remote.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let store = Arc::new(builder.build()?);
    Ok(bucket(remote, connect, store.clone(), store, staging))
}

fn az(remote: &Remote, connect: &Connect, staging: Staging) -> Result<Bucket, object_store::Error> {
    let mut builder = variables(connect, "AZURE_", MicrosoftAzureBuilder::new(), MicrosoftAzureBuilder::with_config)
        .with_container_name(&remote.bucket)
        .with_retry(retries(connect));
    for (key, value) in client(remote, connect) {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    if let Some(endpoint) = &remote.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if let Some(identity) = std::env::var("IDENTITY_ENDPOINT").ok().filter(|_| connect.variables.is_none()) {
        builder = builder.with_msi_endpoint(identity);
    }
    let store = Arc::new(builder.build()?);
    Ok(Bucket { named_uploads: false, ..bucket(remote, connect, store.clone(), store, staging) })
}

fn bucket(
    remote: &Remote,
    connect: &Connect,
    objects: Arc<dyn object_store::ObjectStore>,
    parts: Arc<dyn object_store::multipart::MultipartStore>,
    staging: Staging,
) -> Bucket {
    let Connect { put_bytes_max, part_bytes, .. } = *connect;
    let (url, prefix) = (remote.url(), remote.prefix.clone());
    Bucket { url, prefix, objects, parts, named_uploads: true, put_bytes_max, part_bytes, staging }
}

/// Gives a builder what the ecosystem's variables say; one that it does not know is another tool's.
fn variables<B, K: FromStr>(connect: &Connect, prefix: &str, builder: B, with: fn(B, K, String) -> B) -> B {
    let process = || std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let variables = connect.variables.as_ref().map_or_else(|| process().collect(), |given| given.0.clone());
    let ours = variables.into_iter().filter(|(name, _)| name.starts_with(prefix));
    let known = ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse::<K>().ok()?, value)));
    known.fold(builder, |builder, (key, value)| with(builder, key, value))
}

/// Whoever wrote `http://` meant it.
fn client(remote: &Remote, connect: &Connect) -> Vec<(ClientConfigKey, String)> {
    let mut keys = vec![(ClientConfigKey::Timeout, format!("{}ms", connect.timeout.as_millis()))];
    if remote.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        keys.push((ClientConfigKey::AllowHttp, "true".to_owned()));
    }
    keys
}

/// None after a request that took all its time: that is a hung store, and a try of its own.
fn retries(connect: &Connect) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: connect.timeout }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::target::Variables;

    fn made(url: &str, endpoint: Option<&str>) -> Result<Arc<dyn Store>, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut remote = Remote::parse(url).unwrap();
        remote.endpoint = endpoint.map(str::to_owned);
        let staging = Staging::new(crate::disk::real(), "/data".into(), "staging/archive", None);
        let connected = Connect {
            region: None,
            path_style: true,
            timeout: Duration::from_secs(1),
            put_bytes_max: 1,
            part_bytes: 1,
            variables: Some(Variables(Vec::new())),
        };
        connect(&remote, &connected, staging)
    }

    #[test]
    fn each_scheme_has_its_store_and_says_what_it_lacks() {
        assert!(made("s3://spans/x", None).is_ok());
        assert!(made("s3://spans/x", Some("http://localhost:9000")).is_ok());
        assert!(made("gs://spans/x", Some("http://localhost:4443")).is_ok());
        assert!(made("hdfs://namenode/x", None).is_ok());
        let error = made("az://spans/x", None).map(|_| ()).unwrap_err();
        assert!(error.contains("Account must be specified"), "{error}");
    }
}
