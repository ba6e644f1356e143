//! What is said on a connection that is closed before HTTP is spoken on it: as it goes over the wire, for there is no
//! request that it answers.

use super::limits::LINGER;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where TLS is spoken, to one who does not.
pub(super) const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
    connection: close\r\ncontent-length: 84\r\n\r\n\
    {\"ok\":false,\"error\":\"invalid_request\",\"message\":\"TLS is spoken here: use https://\"}\n";

/// To one connection too many.
pub(super) const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 88\r\n\r\n\
    {\"ok\":false,\"error\":\"overloaded\",\"message\":\"there are too many connections: come back\"}\n";

/// Says it, and closes. One who is not there to hear it needs no answer.
pub(super) async fn say(mut socket: TcpStream, answer: &[u8]) {
    let saying = async {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(LINGER.0), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(LINGER.1, saying).await {
        tracing::debug!(%error, "an answer was not heard");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_answers() {
        for answer in [SPEAK_TLS, TOO_MANY] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
            assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["message"].is_string());
        }
    }
}
