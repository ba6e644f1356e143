//! Whose a share is of what the object has only so much of.

use headwater_core::credentials::{Grant, Role};
use headwater_core::network::network;
use std::borrow::Cow;
use std::net::IpAddr;

/// Who counts as one: a credential, and an address of those who show none or a token of one.
#[derive(Debug)]
pub(super) struct Share<'g> {
    name: Cow<'g, str>,
    is_stranger: bool,
    is_node: bool,
}

impl<'g> Share<'g> {
    /// That of whom was granted this. Strangers of whom the runtime tells no address have one share together.
    pub(super) fn of(grant: &'g Grant, address: Option<IpAddr>) -> Self {
        let is_stranger = grant.is_of_many();
        let name = if is_stranger {
            let address = address.map(|address| network(address).to_string());
            Cow::Owned(format!("{}@{}", grant.credential, address.unwrap_or_default()))
        } else {
            Cow::Borrowed(&*grant.credential)
        };
        Self { name, is_stranger, is_node: grant.has(Role::Node) }
    }

    /// A text that no other caller has.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same where nodes have no share: what follows must be able to come back, however many of them have one pair.
    pub(super) fn unless_node(&self) -> Option<&Self> {
        (!self.is_node).then_some(self)
    }

    /// What is told to who has used it up.
    pub(super) fn told(&self) -> &'static str {
        if self.is_stranger { "without a pair from this address" } else { "with this credential" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_a_pair_are_one_caller_from_everywhere_and_a_node_is_held_to_no_share() {
        let (near, far) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        let grant = Grant::all("k");
        assert_eq!(Share::of(&grant, near).name(), Share::of(&grant, far).name());
        assert_eq!(Share::of(&grant, None).told(), "with this credential");
        assert!(Share::of(&grant, near).unless_node().is_none());
        let reader = Grant::local("k", headwater_core::credentials::Rights::of([Role::Read]));
        assert!(Share::of(&reader, near).unless_node().is_some());
    }
}
