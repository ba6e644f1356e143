//! What a 403 means for whoever uses the command line. The API speaks of headers, which are this program's business: its
//! user gave a pair, a token, a profile or nothing, and wants to know which of them, and which role was missing.

use super::base_url::BaseUrl;
use super::credentials::{APIKEY_VARIABLE, Credentials, SECRET_VARIABLE, TOKEN_VARIABLE};
use super::failure::Failure;
use axum::http::Method;

/// Where the credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// Flags and variables, or nothing at all.
    #[default]
    Given,
    /// The pair of `--dev`.
    Dev,
    /// A profile of this name.
    Profile(String),
}

/// The role that a request wants, in words.
pub(super) fn wanted(method: &Method, target: &str) -> &'static str {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method, &*parts) {
        (_, ["status" | "metrics"]) => "the role admin or node",
        (_, ["keys", ..]) => "the role admin",
        (_, ["tokens"]) => "a pair of some key: no token makes another, and the pair of --dev makes none",
        (&Method::DELETE, ["collections", _]) => "the role admin",
        (&Method::GET, _) | (_, ["replicate"]) => "the role read there",
        (_, ["collections"]) => "the role write in all of that collection",
        _ => "the role write there",
    }
}

/// The API's refusal in the words of the command line. `wanted` is the role that it was about.
pub(super) fn explained(
    failure: Failure,
    wanted: &str,
    credentials: Option<&Credentials>,
    source: &Source,
    base: &BaseUrl,
) -> Failure {
    let what = match credentials {
        None => format!("the node wants a pair or a token, and none was sent: this takes {wanted}"),
        Some(Credentials::Pair(_)) => {
            format!("the node does not know this pair, or it does not cover this, which takes {wanted}")
        }
        Some(Credentials::Token(_)) => format!(
            "the node does not accept this token, its time is over, or it does not cover this, which takes {wanted}"
        ),
    };
    let failure = Failure { message: what, ..failure };
    let next = match (source, credentials) {
        (Source::Profile(name), None) => {
            format!("The profile {name} has no pair: headwater profile save {name} ... gives it one.")
        }
        (Source::Profile(name), Some(_)) => {
            format!(
                "It is the pair of the profile {name}: headwater profile save {name} ... puts another in its place."
            )
        }
        (Source::Dev, _) => {
            format!("--dev is for nodes that run with --dev; for others set {APIKEY_VARIABLE} and {SECRET_VARIABLE}.")
        }
        (Source::Given, Some(Credentials::Token(_))) => {
            format!("Unset {TOKEN_VARIABLE}, and make another with the pair: headwater keys token")
        }
        (Source::Given, Some(Credentials::Pair(_))) => {
            format!(
                "Check {APIKEY_VARIABLE} and {SECRET_VARIABLE}; an admin sees by headwater keys list what the key may."
            )
        }
        (Source::Given, None) => format!("Set {APIKEY_VARIABLE} and {SECRET_VARIABLE}, or {TOKEN_VARIABLE}."),
    };
    let failure = failure.next(next);
    let may_be_dev = *source == Source::Given && !matches!(credentials, Some(Credentials::Token(_)));
    if may_be_dev && base.is_loopback() {
        return failure.next("If the node runs with --dev, say --dev here too.");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Token;
    use super::super::failure::Kind;
    use super::*;
    use crate::settings::Pair;

    fn told(credentials: Option<&Credentials>, source: &Source, url: &str) -> String {
        let failure = Failure::new(Kind::Refused, "send the headers apikey and secret");
        let told = explained(failure, "the role x", credentials, source, &url.parse().unwrap());
        format!("{} {}", told.message, told.next.join(" "))
    }

    #[test]
    fn who_is_refused_is_told_of_what_was_given_and_of_nothing_else() {
        let pair = Credentials::Pair(Pair { apikey: "k".into(), secret: "hidden".into() });
        let token = Credentials::Token(Token("hidden".into()));
        let prod = Source::Profile("prod".into());
        let (near, far) = ("http://127.0.0.1:1", "https://flags.example.com");
        for (credentials, source, url, named, not) in [
            (None, Source::Given, near, &["APIKEY", "SECRET", "TOKEN", "say --dev"][..], &["profile"][..]),
            (Some(&pair), Source::Given, near, &["APIKEY", "SECRET", "keys list", "say --dev"], &["TOKEN"]),
            (Some(&pair), Source::Given, far, &["APIKEY", "SECRET"], &["--dev"]),
            (Some(&token), Source::Given, near, &["TOKEN", "keys token"], &["--dev", "APIKEY"]),
            (Some(&pair), Source::Dev, near, &["--dev", "APIKEY"], &["TOKEN", "say --dev"]),
            (Some(&pair), prod.clone(), near, &["profile prod", "profile save prod"], &["--dev", "APIKEY"]),
            (None, prod, near, &["profile prod"], &["--dev", "APIKEY"]),
        ] {
            let words = told(credentials, &source, url);
            assert!(words.contains("the role x") && !words.contains("headers") && !words.contains("hidden"), "{words}");
            assert!(named.iter().all(|word| words.contains(word)), "{words}");
            assert!(!not.iter().any(|word| words.contains(word)), "{words}");
        }
    }

    #[test]
    fn each_request_has_the_role_that_it_takes() {
        for (method, target, role) in [
            (Method::GET, "/v1/collections/flags/entry?key=a%2Fb", "the role read there"),
            (Method::GET, "/v1/collections", "the role read there"),
            (Method::POST, "/v1/replicate", "the role read there"),
            (Method::POST, "/v1/collections", "the role write in all of that collection"),
            (Method::POST, "/v1/collections/flags/entry?key=a", "the role write there"),
            (Method::DELETE, "/v1/collections/flags/entry?key=a", "the role write there"),
            (Method::POST, "/v1/collections/flags/batch", "the role write there"),
            (Method::DELETE, "/v1/collections/flags", "the role admin"),
            (Method::POST, "/v1/keys/app/rotate", "the role admin"),
            (Method::GET, "/v1/keys", "the role admin"),
            (Method::GET, "/v1/status", "the role admin or node"),
        ] {
            assert_eq!(wanted(&method, target), role, "{method} {target}");
        }
        assert!(wanted(&Method::POST, "/v1/tokens").contains("a pair of some key"));
    }
}
