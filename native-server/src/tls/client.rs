//! Whom the node and the client commands trust when they connect, and what they show.

use super::{files, provider};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::time::Duration;

/// Connects to `http://` and `https://`.
pub type Connector = HttpsConnector<HttpConnector>;

/// Whom to trust, and what to show to those who ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Those who say who is who; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// A certificate to show and its private key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A file of [`Trust`] is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The one that names whom to trust.
    Ca(String),
    /// The certificate or its key.
    Certificate(String),
}

impl Trust {
    /// A connector that gives up a connection which is not accepted `within` this time. Unless `speaks_tls`, nothing is
    /// read for it and nobody trusted: for those who connect to `http://` only.
    ///
    /// # Errors
    /// When a file is of no use. Without certificates of the system there is just nobody to trust: connections to
    /// `https://` fail then, and say so.
    pub fn connector(&self, speaks_tls: bool, within: Duration) -> Result<Connector, Unusable> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(within));
        http.set_nodelay(true);
        http.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(self.config(speaks_tls)?);
        Ok(builder.https_or_http().enable_http1().wrap_connector(http))
    }

    fn config(&self, speaks_tls: bool) -> Result<ClientConfig, Unusable> {
        let roots = match &self.ca {
            Some(path) => files::roots(path).map_err(Unusable::Ca)?,
            None if !speaks_tls => RootCertStore::empty(),
            None => {
                let mut roots = RootCertStore::empty();
                // One that cannot be read is not trusted; the others are.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the versions that are taken for safe")
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.certificate else { return Ok(builder.with_no_client_auth()) };
        let certificates = files::certificates(certificate).map_err(Unusable::Certificate)?;
        let key_read = files::key(key).map_err(Unusable::Certificate)?;
        let unfit = |error| Unusable::Certificate(format!("{}: {error}", key.display()));
        builder.with_client_auth_cert(certificates, key_read).map_err(unfit)
    }
}
