//! Stands between senders and the gateway, and knows what is under way at the instant of a kill.
//!
//! Each connection is passed on as it is. A message is under way where bytes of it have gone to the gateway since the
//! gateway's last; it was in flight at a kill if no byte of an answer came for it afterwards, either.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Less is no message: HTTP/2 acknowledges settings, and opens windows.
const MESSAGE_BYTES_MIN: u64 = 64;

/// One door of the gateway, by another address.
pub struct Wire {
    pub port: u16,
    lines: Arc<Mutex<Vec<Arc<Line>>>>,
    accepts: AbortHandle,
}

/// One connection, in bytes.
#[derive(Default)]
struct Line {
    /// About to go to the gateway; gone.
    asked: AtomicU64,
    gone: AtomicU64,
    /// Of what was asked when the gateway's last bytes came.
    answered: AtomicU64,
    back: AtomicU64,
}

/// What was under way at a moment: those connections, and what had come back on each.
pub struct UnderWay(Vec<(Arc<Line>, u64)>);

impl Wire {
    pub fn to(port: u16, runtime: &Handle) -> Wire {
        let lines = Arc::<Mutex<Vec<Arc<Line>>>>::default();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let here = listener.local_addr().expect("it is bound").port();
        let accepts = runtime.spawn(accept(listener, (Ipv4Addr::LOCALHOST, port).into(), lines.clone()));
        Wire { port: here, lines, accepts: accepts.abort_handle() }
    }

    pub fn under_way(&self) -> UnderWay {
        let lines = self.lines.lock().unwrap();
        let open = lines.iter().filter(|line| line.open() >= MESSAGE_BYTES_MIN);
        UnderWay(open.map(|line| (line.clone(), line.back.load(Ordering::SeqCst))).collect())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

impl UnderWay {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Messages that were never answered; asked when their connections are done.
    pub fn unanswered(&self) -> u64 {
        self.0.iter().filter(|(line, back)| line.back.load(Ordering::SeqCst) == *back).count() as u64
    }
}

impl Line {
    fn open(&self) -> u64 {
        self.gone.load(Ordering::SeqCst).saturating_sub(self.answered.load(Ordering::SeqCst))
    }

    async fn up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut bytes).await {
            let asked = self.asked.fetch_add(len as u64, Ordering::SeqCst) + len as u64;
            if to.write_all(&bytes[..len]).await.is_err() {
                return;
            }
            self.gone.store(asked, Ordering::SeqCst);
        }
    }

    async fn down(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut bytes).await {
            self.back.fetch_add(len as u64, Ordering::SeqCst);
            self.answered.store(self.asked.load(Ordering::SeqCst), Ordering::SeqCst);
            if to.write_all(&bytes[..len]).await.is_err() {
                return;
            }
        }
    }
}

async fn accept(listener: TcpListener, gateway: SocketAddr, lines: Arc<Mutex<Vec<Arc<Line>>>>) {
    while let Ok((sender, _)) = listener.accept().await {
        let line = Arc::<Line>::default();
        lines.lock().unwrap().push(line.clone());
        tokio::spawn(async move {
            // A gateway that is dead refuses: the sender sees its connection closed.
            let Ok(gateway) = TcpStream::connect(gateway).await else { return };
            let _ = (sender.set_nodelay(true), gateway.set_nodelay(true));
            let (from_sender, to_sender) = sender.into_split();
            let (from_gateway, to_gateway) = gateway.into_split();
            // Where one way ends both connections close, and each side sees what the other would have shown it.
            tokio::select! {
                () = line.up(from_sender, to_gateway) => {}
                () = line.down(from_gateway, to_sender) => {}
            }
        });
    }
}
