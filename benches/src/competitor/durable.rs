//! Durable writes over axum: what an acknowledged SET can cost at least when a thread syncs whatever waits as one group.

use super::serve_router;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Most writes of one group.
const GROUP_MAX: usize = 4096;

struct Waiting {
    body: Bytes,
    done: oneshot::Sender<()>,
}

pub(super) async fn serve(log: &Path, listener: TcpListener) -> anyhow::Result<()> {
    let file = File::create(log)?;
    let (queue, waiting) = mpsc::sync_channel(GROUP_MAX);
    std::thread::spawn(move || write_groups(file, &waiting));
    let router = Router::new().fallback(append).with_state(queue);
    serve_router(router, listener).await
}

async fn append(State(queue): State<mpsc::SyncSender<Waiting>>, body: Bytes) -> (StatusCode, &'static str) {
    let (done, durable) = oneshot::channel();
    // The queue has room for more writes than there are connections, so a full one is a mistake of the bench.
    match queue.try_send(Waiting { body, done }) {
        Ok(()) if durable.await.is_ok() => (StatusCode::OK, r#"{"ok":true,"seq":1000000,"version":1000}"#),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not durable"),
    }
}

/// Takes all that waits, writes it, syncs it, answers; ends at the first failure, which every later write then sees.
fn write_groups(mut file: File, waiting: &mpsc::Receiver<Waiting>) {
    let mut group = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(first) = waiting.recv() {
        group.push(first);
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        for write in &group {
            bytes.extend_from_slice(&write.body);
            bytes.push(b'\n');
        }
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            eprintln!("the log failed: {error}");
            return;
        }
        bytes.clear();
        for write in group.drain(..) {
            if write.done.send(()).is_err() {
                // Who does not wait any more has closed its connection.
                continue;
            }
        }
    }
}
