//! The certificates and keys that settings name, read as a start reads them: what looks at a set-up and what starts with it
//! refuse the same.

use super::{InvalidSetting, Part, Settings};
use crate::parent::Parent;
use crate::replica;
use crate::tls::ServerTls;
use crate::tls::client::{Connector, Unusable};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::GeneralName;

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

    /// Why clients that keep to the rules would not take the node's certificate, though a start does: it may be meant for
    /// others. What cannot be read is refused elsewhere.
    pub(crate) fn unfit_certificate(&self) -> Option<InvalidSetting> {
        let first = CertificateDer::from_pem_file(&self.tls.as_ref()?.certificate).ok()?;
        let why = unfit(&first)?;
        let reason = format!("its certificate {why}, so clients refuse it: docs/certificates.md says what it must be");
        Some(InvalidSetting { setting: "--tls-cert", reason })
    }
}

fn unfit(certificate: &CertificateDer<'_>) -> Option<&'static str> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let is_issuer = parsed.basic_constraints().ok()?.is_some_and(|constraints| constraints.value.ca);
    let has_name = parsed.subject_alternative_name().ok()?.is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
    });
    if is_issuer {
        return Some("is an issuer's own (CA:TRUE)");
    }
    (!has_name).then_some("has no name or address as subjectAltName (the common name does not count)")
}
