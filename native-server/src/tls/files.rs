//! Certificates and keys as files in PEM (RFC 7468).

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::path::Path;
use x509_parser::parse_x509_certificate;

/// The certificates in `path`, in their order: at least one.
///
/// # Errors
/// In words that name the file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(&error))?;
    if certificates.is_empty() {
        return Err(unusable(&"there is no certificate in it (expected PEM, \"-----BEGIN CERTIFICATE-----\")"));
    }
    Ok(certificates)
}

/// The first private key in `path`.
///
/// # Errors
/// The same.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Those who are trusted to say who is who: the certificates in `path`.
///
/// # Errors
/// The same.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The lists of withdrawn certificates in `path`: at least one.
///
/// # Errors
/// The same.
pub(super) fn withdrawn(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let lists = CertificateRevocationListDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    let lists = lists.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(&error))?;
    if lists.is_empty() {
        return Err(unusable(&"there is no list in it (expected PEM, \"-----BEGIN X509 CRL-----\")"));
    }
    Ok(lists)
}

/// When the first of these ends, Unix ms: what is shown is of no use from then on. `None` where none says when.
pub(super) fn end_ms(certificates: &[CertificateDer<'_>]) -> Option<u64> {
    let end_s = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        // One that ended before 1970 has ended.
        Some(u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0))
    };
    certificates.iter().filter_map(end_s).min().map(|s| s.saturating_mul(1_000))
}
