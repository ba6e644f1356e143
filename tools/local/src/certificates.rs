//! Certificates for nodes on this machine: an authority of its own, in files as a node takes them, and clients that trust it
//! alone.
//!
//! For tests and benches. Keys are drawn anew each time and lie in the directory unprotected.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One who says who is who, in a directory of files.
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one in the new directory `name` within `directory`.
    ///
    /// # Errors
    /// No key can be drawn, or a file cannot be made.
    pub fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key()?;
        let directory = directory.join(name);
        fs::create_dir(&directory)?;
        fs::write(directory.join("ca.key"), key.serialize_pem())?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        fs::write(directory.join("ca.pem"), issuer.pem())?;
        Ok(Self { directory, issuer })
    }

    /// Makes a certificate for `localhost` and 127.0.0.1 and its key: `NAME.pem` and `NAME.key`, in this order. It does not
    /// end in our time. A name of 1 to 20 bytes of ASCII is its number too.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn issue(&self, name: &str) -> io::Result<(PathBuf, PathBuf)> {
        self.issued(name, None)
    }

    /// The same, for one that ends after so much time from now.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn issue_for(&self, name: &str, left: Duration) -> io::Result<(PathBuf, PathBuf)> {
        self.issued(name, Some(left))
    }

    fn issued(&self, name: &str, left: Option<Duration>) -> io::Result<(PathBuf, PathBuf)> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.serial_number = Some(SerialNumber::from_slice(name.as_bytes()));
        if let Some(left) = left {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
            params.not_after = date_time_ymd(1970, 1, 1) + now + left;
        }
        let key = key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let paths = (self.directory.join(format!("{name}.pem")), self.directory.join(format!("{name}.key")));
        fs::write(&paths.0, certificate.pem())?;
        fs::write(&paths.1, key.serialize_pem())?;
        Ok(paths)
    }

    /// Makes the list of the certificates of these names that are withdrawn, in place of the one before.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn withdraw(&self, names: &[&str]) -> io::Result<PathBuf> {
        let withdrawn = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from_slice(name.as_bytes()),
            revocation_time: date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(withdrawn).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(io::Error::other)?;
        let (path, new) = (self.directory.join("withdrawn.pem"), self.directory.join("withdrawn.new"));
        fs::write(&new, list)?;
        fs::rename(new, &path)?;
        Ok(path)
    }

    /// The directory with all of its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Makes connections for one who trusts this authority alone and speaks `protocol` (`http/1.1`, `h2`).
    ///
    /// # Errors
    /// Its certificate cannot be read back.
    pub fn client(&self, protocol: &str) -> io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.ca()).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        Ok(Client(TlsConnector::from(Arc::new(config))))
    }
}

fn key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(io::Error::other)
}

/// See [`Authority::client`].
#[derive(Clone)]
pub struct Client(TlsConnector);

impl Client {
    /// Speaks TLS over a connection to 127.0.0.1.
    ///
    /// # Errors
    /// None comes about.
    pub async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").expect("it is an address");
        self.0.connect(name, socket).await
    }
}
