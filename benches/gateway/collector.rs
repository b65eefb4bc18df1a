//! A collector that takes everything and keeps nothing, in a thread of the bench.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So long without a byte means that all is delivered.
const QUIET: Duration = Duration::from_millis(300);

pub struct Collector {
    pub address: SocketAddr,
    /// Bytes of bodies taken.
    bytes: Arc<AtomicU64>,
}

impl Collector {
    pub fn start() -> io::Result<Collector> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, bytes) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let taken = bytes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = taken.clone();
                // A connection ends when its gateway does.
                std::thread::spawn(move || serve(stream, &taken));
            }
        });
        Ok(Collector { address, bytes })
    }

    /// Waits until something came and then nothing for [`QUIET`]; bytes since the last time.
    pub fn wait_quiet(&self) -> u64 {
        let mut before = 0;
        loop {
            std::thread::sleep(QUIET);
            let now = self.bytes.load(Relaxed);
            if now > 0 && now == before {
                self.bytes.store(0, Relaxed);
                return now;
            }
            before = now;
        }
    }
}

fn serve(stream: TcpStream, taken: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
        taken.fetch_add(length, Relaxed);
        stream.get_mut().write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
    }
}
