//! What the node shows to those who connect, from files that may change while it runs.

use super::{files, provider};
use rustls::ServerConfig;
use rustls::server::{ClientCertVerifierBuilder, VerifierBuilderError, WebPkiClientVerifier};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The files of a node that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Its certificate, and those between it and one that clients trust.
    pub(crate) certificate: PathBuf,
    /// The private key of the first.
    pub(crate) key: PathBuf,
    /// Whose certificates clients must show; `None` where they need none.
    pub(crate) client_ca: Option<PathBuf>,
    /// Which of those were withdrawn; `None` where none can be.
    pub(crate) client_crl: Option<PathBuf>,
}

/// What tells whether a file is another one than before: when it was changed, and its length.
type Mark = Option<(SystemTime, u64)>;

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let asked = self.client_ca.iter().chain(&self.client_crl);
        [&self.certificate, &self.key].into_iter().chain(asked).map(PathBuf::as_path)
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |path: &Path| fs::metadata(path).and_then(|facts| Ok((facts.modified()?, facts.len()))).ok();
        self.paths().map(mark).collect()
    }

    fn read(&self) -> Result<Shown, (&'static str, String)> {
        let certificates = files::certificates(&self.certificate).map_err(|error| ("--tls-cert", error))?;
        let key = files::key(&self.key).map_err(|error| ("--tls-key", error))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the versions that are taken for safe");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refused = |error: String| ("--tls-client-ca", error);
                let roots = files::roots(path).map_err(refused)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = self.without_withdrawn(verifier)?;
                let verifier = verifier.build().map_err(|error| match (&error, &self.client_crl) {
                    (VerifierBuilderError::InvalidCrl(_), Some(list)) => {
                        ("--tls-client-crl", format!("{}: {error}", list.display()))
                    }
                    _ => refused(format!("{}: {error}", path.display())),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let end_ms = files::end_ms(&certificates);
        let unfit = |error| ("--tls-key", format!("{}: {error}", self.key.display()));
        let mut config = builder.with_single_cert(certificates, key).map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Shown { config: Arc::new(config), end_ms })
    }

    /// Has clients' certificates looked up among those that were withdrawn, if there is a list of them: the client's own,
    /// by a list of its issuer's. One whose issuer has none there is taken as withdrawn: nobody can say that it is not.
    fn without_withdrawn(
        &self,
        verifier: ClientCertVerifierBuilder,
    ) -> Result<ClientCertVerifierBuilder, (&'static str, String)> {
        let Some(path) = &self.client_crl else { return Ok(verifier) };
        let refused = |error: String| ("--tls-client-crl", error);
        let lists = files::withdrawn(path).map_err(refused)?;
        Ok(verifier.with_crls(lists).only_check_end_entity_revocation())
    }
}

/// What is shown, and until when it is of use.
#[derive(Clone, Debug)]
struct Shown {
    config: Arc<ServerConfig>,
    end_ms: Option<u64>,
}

/// The files at the last look, and what was found.
#[derive(Clone, Debug)]
struct Seen {
    marks: Vec<Mark>,
    /// The files as they were when they were last taken.
    taken: Vec<Mark>,
    /// How many looks in a row found them of no use for this reason.
    failures: u32,
    reason: String,
}

/// TLS as it stands. New connections take it as it is then; those that are open keep what they began with.
#[derive(Debug)]
pub(crate) struct ServerTls {
    files: TlsFiles,
    /// The files as they were when they were first read.
    marks: Vec<Mark>,
    current: RwLock<Shown>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub(crate) fn read(files: TlsFiles) -> Result<Self, (&'static str, String)> {
        let marks = files.marks();
        let current = RwLock::new(files.read()?);
        Ok(Self { files, marks, current })
    }

    /// What takes the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current().config.into()
    }

    /// When the first of the certificates that are shown ends, Unix ms; `None` where none says when.
    pub(crate) fn end_ms(&self) -> Option<u64> {
        self.current().end_ms
    }

    fn current(&self) -> Shown {
        // It is only ever assigned to.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other files as soon as they are there, and stays with the old ones while they are of no use.
    pub(crate) async fn attend(self: &Arc<Self>) -> Infallible {
        let [marks, taken] = [(); 2].map(|()| self.marks.clone());
        let mut seen = Seen { marks, taken, failures: 0, reason: String::new() };
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let (this, before) = (Arc::clone(self), seen.clone());
            // A file system may take its time. A look that failed is made again.
            if let Ok(now) = tokio::task::spawn_blocking(move || this.look(before)).await {
                seen = now;
            }
        }
    }

    fn look(&self, before: Seen) -> Seen {
        let marks = self.files.marks();
        if marks == before.marks && before.failures == 0 {
            return before;
        }
        match self.files.read() {
            Ok(shown) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = shown;
                let is_new = |(path, (now, taken)): (&Path, _)| (now != taken).then(|| path.display().to_string());
                let new: Vec<_> = self.files.paths().zip(marks.iter().zip(&before.taken)).filter_map(is_new).collect();
                tracing::info!(files = new.join(", "), "new connections are judged by the new files of TLS");
                Seen { taken: marks.clone(), marks, failures: 0, reason: String::new() }
            }
            Err((setting, error)) => {
                let failures = if error == before.reason { before.failures.saturating_add(1) } else { 1 };
                // Certificate and key are seldom replaced as one: what is still so at the next look is said, once.
                if failures == 2 {
                    let kept = "new connections are judged by those before";
                    tracing::error!(setting, error, "the files of TLS have changed and are of no use: {kept}");
                }
                Seen { marks, taken: before.taken, failures, reason: error }
            }
        }
    }
}
