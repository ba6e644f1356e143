//! The settings of TLS towards the parent: whom to trust to be one, and what to show to it.

use crate::tls::client::Trust;
use clap::Args;
use std::path::PathBuf;

/// As the other settings of whom to follow.
const HEADING: &str = "Following";

/// Flags and variables of TLS towards the parent.
#[derive(Args, Clone, Debug)]
pub struct ParentArgs {
    /// Certificates in PEM that say which parents are the right ones, in place of those that this system trusts
    #[arg(long, help_heading = HEADING, env = "HEADWATER_PARENT_CA", value_name = "FILE")]
    pub parent_ca: Option<PathBuf>,

    /// Certificate in PEM to show to a parent that asks for one
    #[arg(long, help_heading = HEADING, env = "HEADWATER_PARENT_CERT", value_name = "FILE", requires = "parent_key")]
    pub parent_cert: Option<PathBuf>,

    /// Private key of --parent-cert, in PEM
    #[arg(long, help_heading = HEADING, env = "HEADWATER_PARENT_KEY", value_name = "FILE", requires = "parent_cert")]
    pub parent_key: Option<PathBuf>,
}

impl ParentArgs {
    /// Whom the node trusts to be its parent.
    pub(super) fn trust(&self) -> Trust {
        Trust { ca: self.parent_ca.clone(), certificate: self.parent_cert.clone().zip(self.parent_key.clone()) }
    }
}
