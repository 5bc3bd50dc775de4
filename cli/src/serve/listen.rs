//! Connections: how many, how slow they may be, and how they end.

use super::guard::{Log, Peer};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// How long it may take no byte of an answer.
const WRITE: Duration = Duration::from_secs(20);
/// Most bytes of headers; also the size of a connection's buffer.
const MAX_HEADERS: usize = 16 << 10;
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What connections may be like.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Clients at a time.
    pub(super) connections: usize,
    /// How long a request's headers may take, and how long a connection that is kept may be silent before the next.
    pub(super) headers: Duration,
    /// How long what runs may take when the server ends.
    pub(super) grace: Duration,
}

/// Serves `router` on `listener` until `stop` comes; then finishes what runs. True if everything was finished in time.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
    log: Log,
) -> bool {
    let places = Arc::new(Semaphore::new(limits.connections));
    let running = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                refused(&error, log).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tokio::spawn(tokio::time::timeout(Duration::from_secs(1), turn_away(stream)));
            continue;
        };
        // An answer is one piece; waiting for more of it gains nothing.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE));
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = running.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or babbles has got its answer, or wants none.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::time::timeout(limits.grace, running.shutdown()).await.is_ok()
}

/// The system gave no connection: there may be too many open files. Others will end.
async fn refused(error: &io::Error, log: Log) {
    // The client has gone already.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    log.event(&format!("cannot accept a connection: {error}"));
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Says that there are too many clients. What this one has sent is taken first, or it would not see the answer.
async fn turn_away(mut stream: TcpStream) {
    let mut some = [0; 4096];
    if stream.readable().await.is_ok() {
        let _ = stream.try_read(&mut some);
    }
    let _ = stream.write_all(BUSY).await;
    let _ = stream.shutdown().await;
    while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut some).await, Ok(1..)) {}
}
