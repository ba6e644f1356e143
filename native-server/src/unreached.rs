//! Why no connection came about, in words for people and with what helps: of TLS above all, whose own words are for those
//! who write it.
//!
//! Only what the other side or this one says at the connection itself is looked at; what a node answers is none of it.

use hyper_util::client::legacy;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;

/// The names of the settings that help, for whoever connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// The file that says whom to trust.
    pub(crate) ca: &'static str,
    /// The certificate to show, with its key.
    pub(crate) certificate: &'static str,
    /// The address.
    pub(crate) url: &'static str,
}

/// What is wrong with a connection that something answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A sentence without its end.
    pub(crate) what: String,
    /// What helps, in a sentence.
    pub(crate) helps: String,
}

impl Fault {
    fn new(what: impl Into<String>, helps: impl Into<String>) -> Self {
        Self { what: what.into(), helps: helps.into() }
    }
}

/// The fault of TLS that `error` tells of, for which no request was looked at; `None` where it is something else.
pub(crate) fn by_tls(error: &legacy::Error, named: Named) -> Option<Fault> {
    if let Some(error_of_tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        // What is shown is judged before anything is read, and heard of when a request may be under way already. Whatever
        // else breaks TLS then may have come behind the request.
        let is_before = error.is_connect() || matches!(error_of_tls, rustls::Error::AlertReceived(_));
        return is_before.then(|| fault(error_of_tls, named));
    }
    let is_cut_off = |cause: &(dyn Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
    };
    // A connection without TLS is there at once: there is nothing in which it could be cut off.
    (error.is_connect() && causes(error).any(is_cut_off)).then(|| {
        let url = named.url;
        let helps = format!(
            "It may take no more connections of this address (--connections-per-address-max there), or speak no TLS: \
             say http:// in {url} then."
        );
        Fault::new("the connection was ended before TLS had begun", helps)
    })
}

/// An error and what it comes from, one after the other.
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |cause| cause_of(*cause))
}

/// What an error of the system is made of is not its source for the standard library.
fn cause_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn fault(error: &rustls::Error, named: Named) -> Fault {
    let Named { ca, certificate, url } = named;
    match error {
        rustls::Error::InvalidCertificate(error) => theirs(error, named),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Fault::new(
            "it wants a certificate of those who connect, and none was shown",
            format!("Show one that it takes: {certificate}."),
        ),
        rustls::Error::AlertReceived(alert) => {
            let why = match alert {
                AlertDescription::CertificateRevoked => "it was withdrawn",
                AlertDescription::CertificateExpired => "it has ended, or is not good yet",
                // The second comes of an issuer that has the name of a trusted one, and another key.
                AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                    "it is of none of the issuers whom the node trusts (--tls-client-ca there)"
                }
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown => {
                    "it may be none for clients (extendedKeyUsage), an issuer's own (CA:TRUE), or without extensions"
                }
                other => {
                    return Fault::new(
                        format!("it ended TLS by the alert {other:?}"),
                        format!("Whom to trust is given by {ca}, what is shown by {certificate}."),
                    );
                }
            };
            let what = format!("it does not take the certificate that was shown: {why}");
            Fault::new(what, format!("Show another one: {certificate}."))
        }
        rustls::Error::InvalidMessage(_) => Fault::new(
            "what answers there does not speak TLS",
            format!("Say http:// in {url} if it is a node without certificates."),
        ),
        other => Fault::new(
            format!("TLS did not come about: {other}"),
            format!("Whom to trust is given by {ca}, what is shown by {certificate}."),
        ),
    }
}

/// What is wrong with the certificate that the other side shows.
fn theirs(error: &CertificateError, Named { ca, url, .. }: Named) -> Fault {
    const ANOTHER: &str = "The node wants another certificate: docs/certificates.md has the commands that make one.";
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::new(
            "its certificate is of an issuer that is not trusted here",
            format!("Give the certificate of its issuer: {ca} FILE, in place of those whom this system trusts."),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Fault::new("its certificate has ended", "The node wants a new one, or this machine's clock is wrong.")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Fault::new(
            "its certificate is not good yet",
            "Look at this machine's clock, and at the node's certificate.",
        ),
        CertificateError::NotValidForName => other_names(&[], url),
        CertificateError::NotValidForNameContext { presented, .. } => other_names(presented, url),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Fault::new("its certificate is not one for servers (extendedKeyUsage)", ANOTHER)
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                Fault::new("its certificate is an issuer's own (CA:TRUE), which is none for a node", ANOTHER)
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                Fault::new("its certificate has no extensions (X.509 version 1), so no names", ANOTHER)
            }
            _ => Fault::new(format!("its certificate is of no use: {}", other.0), ANOTHER),
        },
        other => Fault::new(format!("its certificate is of no use: {other}"), ANOTHER),
    }
}

/// `presented` are the names that the certificate has, each in the form `DnsName("node")`.
fn other_names(presented: &[String], url: &str) -> Fault {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(&**name, |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    let names: Vec<_> = presented.iter().take(8).map(bare).collect();
    let what = if names.is_empty() {
        "its certificate has no name that it could be asked by (subjectAltName; the common name does not count)".into()
    } else {
        format!("its certificate is for other names than this address has: {}", names.join(", "))
    };
    Fault::new(what, format!("Give one of its names in {url}, or the node a certificate with this one."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InvalidMessage, OtherError};
    use std::sync::Arc;

    const NAMED: Named = Named { ca: "--ca-flag", certificate: "--cert-flag", url: "--url-flag" };

    #[test]
    fn each_fault_is_told_in_plain_words_with_the_setting_that_helps() {
        let theirs = rustls::Error::InvalidCertificate;
        let other = |error: webpki::Error| theirs(CertificateError::Other(OtherError(Arc::new(error))));
        let presented = ["DnsName(\"node\")", "IpAddress(10.0.0.5)"].map(String::from).to_vec();
        let expected = "h".try_into().unwrap();
        for (error, what, helps) in [
            (theirs(CertificateError::UnknownIssuer), "issuer that is not trusted here", "--ca-flag"),
            (theirs(CertificateError::Expired), "has ended", "clock"),
            (theirs(CertificateError::NotValidYet), "not good yet", "clock"),
            (theirs(CertificateError::NotValidForName), "subjectAltName", "--url-flag"),
            (
                theirs(CertificateError::NotValidForNameContext { expected, presented }),
                "has: node, 10.0.0.5",
                "--url-flag",
            ),
            (theirs(CertificateError::InvalidPurpose), "for servers", "docs/certificates.md"),
            (other(webpki::Error::CaUsedAsEndEntity), "CA:TRUE", "docs/certificates.md"),
            (other(webpki::Error::UnsupportedCertVersion), "version 1", "docs/certificates.md"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "none was shown", "--cert-flag"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateRevoked), "was withdrawn", "--cert-flag"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateExpired), "has ended", "--cert-flag"),
            (rustls::Error::AlertReceived(AlertDescription::UnknownCA), "none of the issuers", "--cert-flag"),
            (rustls::Error::AlertReceived(AlertDescription::InternalError), "InternalError", "--ca-flag"),
            (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), "not speak TLS", "http://"),
        ] {
            let fault = fault(&error, NAMED);
            assert!(fault.what.contains(what) && fault.helps.contains(helps), "{error:?}: {fault:?}");
            assert!(!fault.what.contains("OtherError") && fault.helps.ends_with('.'), "{fault:?}");
        }
    }
}
