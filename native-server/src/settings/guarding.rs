//! The settings of what a node refuses though the credentials would do.

use super::InvalidSetting;
use crate::http::{ANSWERS_BYTES_LEAST, BODIES_BYTES_LEAST};
use crate::rates::{Rate, RateLimits};
use crate::size::{Size, size};
use crate::whole::whole;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use headwater_core::name;
use std::collections::BTreeSet;

/// Flags and variables of what is refused.
#[derive(Args, Clone, Debug)]
pub struct GuardingArgs {
    /// Serve reads and streams and take no writes; a replica hands none on either. Credentials can still be changed
    #[arg(long, help_heading = "Protection", env = "HEADWATER_READ_ONLY", value_parser = BoolishValueParser::new())]
    pub read_only: bool,

    /// Most requests with one credential: 100/s, 30/m, or 100/s:500 for up to 500 at once; streams of nodes are not counted
    /// [default: no limit]
    #[arg(long, help_heading = "Protection", env = "HEADWATER_RATE_PER_CREDENTIAL", value_name = "RATE")]
    pub rate_per_credential: Option<Rate>,

    /// Most requests from one address, of IPv6 from one /64, whatever their credentials [default: no limit]
    #[arg(long, help_heading = "Protection", env = "HEADWATER_RATE_PER_ADDRESS", value_name = "RATE")]
    pub rate_per_address: Option<Rate>,

    /// Most requests with wrong credentials from one address that are told so; further ones are told to come back; "off"
    /// for no limit
    #[arg(long, help_heading = "Protection", env = "HEADWATER_RATE_OF_WRONG_PAIRS", value_name = "RATE|off", default_value = "20/s:100", value_parser = rate_or_off)]
    pub rate_of_wrong_pairs: RateOrOff,

    /// Most requests being answered at one time; health, status and metrics are answered beyond it
    #[arg(long, help_heading = "Protection", env = "HEADWATER_REQUESTS_MAX", value_name = "N", value_parser = whole::<usize>("requests", 1..=1_000_000), default_value_t = 10_000)]
    pub requests_max: usize,

    /// Share of --requests-max, --waiters-max, --children-max and the lists being read that one credential may have, in
    /// percent; of those who show a token of it, or none where the key anonymous lets them in, one address. Pairs with the
    /// role node may have all
    #[arg(long, help_heading = "Protection", env = "HEADWATER_SHARE_PER_CREDENTIAL", value_name = "PERCENT", value_parser = whole::<usize>("percent", 1..=100), default_value_t = 25)]
    pub share_per_credential: usize,

    /// Most bytes held of large bodies of requests being answered, beyond the first 64KiB of each; half of it for those with
    /// one credential: 32MiB to 1TiB
    #[arg(long, help_heading = "Protection", env = "HEADWATER_BODIES_BYTES_MAX", value_name = "SIZE", value_parser = size(BODIES_BYTES_LEAST..=1 << 40), default_value_t = Size(256 << 20))]
    pub bodies_bytes_max: Size,

    /// Most bytes held of answers until the other side has taken them, those of up to 4KiB not counted; half of it for one
    /// credential: 32MiB to 1TiB
    #[arg(long, help_heading = "Protection", env = "HEADWATER_ANSWERS_BYTES_MAX", value_name = "SIZE", value_parser = size(ANSWERS_BYTES_LEAST..=1 << 40), default_value_t = Size(256 << 20))]
    pub answers_bytes_max: Size,

    /// Collection that a writer does not drop, whoever asks; repeatable, or several with commas
    #[arg(long, help_heading = "Protection", env = "HEADWATER_PROTECT", value_name = "COLLECTION", value_delimiter = ',', action = ArgAction::Append)]
    pub protect: Vec<String>,
}

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOrOff(Option<Rate>);

fn rate_or_off(text: &str) -> Result<RateOrOff, String> {
    if text == "off" { Ok(RateOrOff(None)) } else { text.parse().map(|rate| RateOrOff(Some(rate))) }
}

impl GuardingArgs {
    pub(super) fn rates(&self) -> RateLimits {
        RateLimits {
            credential: self.rate_per_credential,
            address: self.rate_per_address,
            wrong_pairs: self.rate_of_wrong_pairs.0,
        }
    }

    /// The collections that are not dropped.
    pub(super) fn protected(&self) -> Result<BTreeSet<String>, InvalidSetting> {
        if let Some(name) = self.protect.iter().find(|name| !name::is_valid(name) || name::is_system(name)) {
            let reason = format!("{name:?} is no collection that anybody could drop");
            return Err(InvalidSetting { setting: "--protect", reason });
        }
        Ok(self.protect.iter().cloned().collect())
    }
}
