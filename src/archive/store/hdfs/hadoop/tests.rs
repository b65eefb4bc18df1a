//! What a NameNode that does not serve costs. One that does is in `make real`.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

fn hadoop(port: u16, timeout: Duration) -> Hadoop {
    Hadoop::new(&format!("127.0.0.1:{port}"), timeout).unwrap()
}

#[tokio::test]
async fn a_namenode_that_takes_requests_and_never_answers_costs_a_try_its_time_and_the_next_one_dials_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hadoop = hadoop(port, Duration::from_millis(200));
    let dialled = async {
        let mut dialled = Vec::new();
        for _ in 0..2 {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 4];
            peer.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"hrpc");
            dialled.push(peer);
        }
        dialled
    };
    let asked = async {
        for _ in 0..2 {
            let error = hadoop.stat("/spans/x").await.map(|_| ()).unwrap_err().to_string();
            assert_eq!(error, format!("cannot look at hdfs://127.0.0.1:{port}/spans/x: no answer in 200ms"));
        }
    };
    let (mut dialled, ()) = tokio::join!(dialled, asked);
    for peer in &mut dialled {
        // The link is gone, and with it all that the crate had started for it.
        let ended = tokio::time::timeout(Duration::from_secs(30), peer.read_to_end(&mut Vec::new())).await;
        ended.expect("it is hung up").ok();
    }
}

#[tokio::test]
async fn a_namenode_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = hadoop(port, Duration::from_secs(30)).make_dir("/spans").await.unwrap_err().to_string();
    let start = format!("cannot make the directory hdfs://127.0.0.1:{port}/spans: ");
    assert!(error.starts_with(&start) && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn what_is_no_name_of_a_namenode_is_an_error_where_tasks_run() {
    let error = Hadoop::new("name node", Duration::from_secs(1)).map(|_| ()).unwrap_err();
    assert!(error.contains("URL"), "{error}");
}

#[test]
fn a_refusal_is_told_without_the_stack_of_the_namenode() {
    let class = "org.apache.hadoop.security.AccessControlException".to_owned();
    let error = HdfsError::RPCError(class, "Permission denied: user=me\n\tat org.apache.hadoop.Check".to_owned());
    assert_eq!(said(&error), "AccessControlException: Permission denied: user=me");
    assert!(is_answer(&error) && !is_answer(&HdfsError::DataTransferError("no".to_owned())));
}
