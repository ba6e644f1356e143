//! What a node may be called by. A web page whose own name was made to point at a node (DNS rebinding) sends that name,
//! so a node answers to its own names only.

use super::error::{ApiError, Code};
use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

/// Characters of a wrong name that are shown back.
const SHOWN_CHARS: usize = 64;

/// Whether `host` (a `Host` header or the authority of a target) is one of `names` or calls this very machine.
pub fn answers_to(host: &str, names: &[String]) -> bool {
    let name = without_port(host);
    is_loopback(host) || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether `host` is `localhost` or a literal loopback address, with or without a port. The unspecified address is
/// neither, though browsers take `0.0.0.0` for this very machine.
pub fn is_loopback(host: &str) -> bool {
    without_port(host).eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// The address that `host` is a literal of.
pub fn address(host: &str) -> Option<IpAddr> {
    let name = without_port(host);
    name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name).parse().ok()
}

/// The answer to a request that was meant for another name: 421 `misdirected`.
pub fn misnamed(host: &str) -> ApiError {
    let shown: String = host.chars().take(SHOWN_CHARS).collect();
    ApiError::new(
        Code::Misdirected,
        format!("this node is not called {shown:?}: add the name to its settings, or use one it has"),
    )
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_the_name() {
        for (host, name) in [
            ("a:80", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:b", "a:b"),
            ("a:", "a"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn answers_to_its_names_and_to_loopback() {
        let names = [String::from("node.example.com")];
        for host in
            ["node.example.com", "Node.Example.Com:443", "127.0.0.1:8787", "127.9.9.9", "[::1]:80", "localhost:1"]
        {
            assert!(answers_to(host, &names), "{host}");
        }
        for host in ["", "example.com", "127.0.0.1.example.com", "[::2]", "localhost.example.com", "0.0.0.0"] {
            assert!(!answers_to(host, &names), "{host}");
        }
    }
}
