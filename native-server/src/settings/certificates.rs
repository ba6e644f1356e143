//! The certificates and keys that settings name, read as a start reads them: what looks at a set-up and what starts with it
//! refuse the same.

use super::{InvalidSetting, Part, Settings};
use crate::parent::Parent;
use crate::replica;
use crate::tls::ServerTls;
use crate::tls::client::{Connector, Unusable};

impl Settings {
    /// What the node shows to those who connect; `None` where it speaks plaintext.
    ///
    /// # Errors
    /// A file is of no use.
    pub(crate) fn server_tls(&self) -> Result<Option<ServerTls>, InvalidSetting> {
        let read = self.tls.clone().map(ServerTls::read).transpose();
        read.map_err(|(setting, reason)| InvalidSetting { setting, reason })
    }

    /// What connects to the parent; `None` on a writer.
    ///
    /// # Errors
    /// As [`Settings::server_tls`].
    pub(crate) fn connector(&self) -> Result<Option<Connector>, InvalidSetting> {
        let Part::Replica { parents, trust, .. } = &self.part else { return Ok(None) };
        let connector = trust.connector(parents.iter().any(Parent::speaks_tls), replica::CONNECT_WITHIN);
        connector.map(Some).map_err(|unusable| match unusable {
            Unusable::Ca(reason) => InvalidSetting { setting: "--parent-ca", reason },
            Unusable::Certificate(reason) => InvalidSetting { setting: "--parent-cert", reason },
        })
    }
}
