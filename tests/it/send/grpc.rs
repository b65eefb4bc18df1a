//! The listener's gRPC: an HTTP/2 server, a call at a time.

use std::io;
use std::net::TcpStream;

use bytes::Bytes;
use h2::server::{SendResponse, handshake};
use http::{HeaderMap, Response};

use super::listener::Say;

/// Serves a connection; `say` answers a `ListOfSpans`.
pub fn serve(stream: TcpStream, say: &dyn Fn(&[u8]) -> Say) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    stream.set_nonblocking(true)?;
    runtime.block_on(async {
        let mut connection = handshake(tokio::net::TcpStream::from_std(stream)?).await.map_err(io::Error::other)?;
        while let Some(call) = connection.accept().await {
            let (request, mut respond) = call.map_err(io::Error::other)?;
            let (head, mut body) = request.into_parts();
            assert_eq!(head.uri.path(), "/zipkin.proto3.SpanService/Report");
            assert_eq!((&head.headers["content-type"], &head.headers["te"]), (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap()));
            let mut message = Vec::new();
            let read = async {
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    message.extend_from_slice(&data);
                }
            };
            // The body comes while the connection is polled.
            tokio::select! {
                () = read => {}
                ended = std::future::poll_fn(|context| connection.poll_closed(context)) => return ended.map_err(io::Error::other),
            }
            assert_eq!(message[..5], [&[0][..], &(message.len() as u32 - 5).to_be_bytes()].concat());
            match say(&message[5..]) {
                Say::Yes => answer(&mut respond, "0", ""),
                Say::Later => answer(&mut respond, "14", "full"),
                Say::Never => answer(&mut respond, "3", "not%20with us"),
                Say::Nothing => return Ok(()),
            }
        }
        Ok(())
    })
}

/// A message of nothing and trailers, or a head alone where it is a no.
fn answer(respond: &mut SendResponse<Bytes>, status: &str, text: &str) {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", status.parse().unwrap());
    fields.insert("grpc-message", text.parse().unwrap());
    let mut head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    if status != "0" {
        fields.insert("grpc-retry-pushback-ms", "0".parse().unwrap());
        head.headers_mut().extend(fields);
        respond.send_response(head, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    stream.send_trailers(fields).unwrap();
}
