//! Secrets as they are stored and compared.
//!
//! A secret is 256 random bits made by a shell, never chosen by a person, so one round of SHA-256 guards it; only the
//! hash is stored.

use super::token::TokenKey;
use crate::hex::{from_hex, to_hex};
use alloc::string::String;
use core::fmt;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// SHA-256 of a secret.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads a hash as it is stored, in 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// The hash as it is stored.
    pub fn to_hex(self) -> String {
        to_hex(&self.0)
    }

    /// Whether both are the same, in a time that does not depend on them.
    pub(super) fn equals(&self, other: &Self) -> Choice {
        // By words: a barrier against the optimiser for each byte would be most of the work.
        let words = |hash: &Self| {
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(hash.0.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            words
        };
        words(self).ct_eq(&words(other))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// What is kept of a secret: by which it is known again, and so is what its holder signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier {
    pub(super) hash: SecretHash,
    /// `None` for one that was stored by whoever did not know of tokens.
    pub(super) token_key: Option<TokenKey>,
}

impl Verifier {
    /// That of a secret.
    pub fn of(secret: &str) -> Self {
        Self { hash: SecretHash::of(secret), token_key: Some(TokenKey::of(secret)) }
    }
}

/// Whether two texts are equal, in a time that depends on their lengths at most.
pub fn equal_in_constant_time(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn a_hash_is_that_of_the_standard_and_is_read_back() {
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(SecretHash::of("abc").to_hex(), hex);
        assert_eq!(SecretHash::from_hex(hex), Some(SecretHash::of("abc")));
    }

    #[test]
    fn hashes_are_spelled_in_one_way() {
        let hex = SecretHash::of("abc").to_hex();
        for other in [hex.to_uppercase(), hex[1..].into(), format!("{hex}0"), format!("{}é", &hex[2..]), String::new()]
        {
            assert_eq!(SecretHash::from_hex(&other), None, "{other}");
        }
    }

    #[test]
    fn every_bit_of_a_hash_counts() {
        let hash = SecretHash::of("abc");
        assert!(bool::from(hash.equals(&hash)));
        for bit in 0..256 {
            let mut other = hash;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!bool::from(hash.equals(&other)), "{bit}");
            assert_eq!(SecretHash::from_hex(&other.to_hex()), Some(other), "{bit}");
        }
        for at in 0..64 {
            for digit in ['g', '/', ':', '`', 'A', ' '] {
                let mut hex = hash.to_hex();
                hex.replace_range(at..=at, &digit.to_string());
                assert_eq!(SecretHash::from_hex(&hex), None, "{hex}");
            }
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        assert_eq!(format!("{:?}", SecretHash::of("abc")), "SecretHash");
    }
}
