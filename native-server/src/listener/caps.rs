//! How many connections there may be, in all and from one address.

use headwater_core::network::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections. Holds no more addresses than there are connections.
#[derive(Debug)]
pub(super) struct Caps {
    connections_max: usize,
    address_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// There are as many as there may be.
    Connections,
    /// There are as many as there may be from this address.
    OfAddress,
}

impl Caps {
    pub(super) fn new(connections_max: usize, address_max: usize) -> Self {
        Self { connections_max, address_max, open: Mutex::default() }
    }

    /// Counts a connection for as long as what is returned lives.
    ///
    /// # Errors
    /// When it is one too many.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admitted, TooMany> {
        let address = network(peer);
        let mut open = self.lock();
        if open.all >= self.connections_max {
            return Err(TooMany::Connections);
        }
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.address_max {
            return Err(TooMany::OfAddress);
        }
        open.all += 1;
        open.by_address.insert(address, of_address + 1);
        drop(open);
        Ok(Admitted { caps: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing in there can fail half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Caps::admit`].
#[derive(Debug)]
pub(super) struct Admitted {
    caps: Arc<Caps>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.caps.lock();
        open.all -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_all_and_by_address_and_forgets_who_has_gone() {
        let caps = Arc::new(Caps::new(3, 2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
        let first = caps.admit(a).unwrap();
        let second = caps.admit(address("::ffff:10.0.0.1")).unwrap();
        assert_eq!(caps.admit(a).unwrap_err(), TooMany::OfAddress);
        let third = caps.admit(b).unwrap();
        assert_eq!(caps.admit(b).unwrap_err(), TooMany::Connections);
        drop(first);
        let fourth = caps.admit(a).unwrap();
        drop((second, third, fourth));
        let open = caps.lock();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let caps = Arc::new(Caps::new(9, 1));
        let _held = caps.admit("2001:db8:1:2::1".parse().unwrap()).unwrap();
        assert_eq!(caps.admit("2001:db8:1:2:ffff::2".parse().unwrap()).unwrap_err(), TooMany::OfAddress);
        assert!(caps.admit("2001:db8:1:3::1".parse().unwrap()).is_ok());
    }
}
