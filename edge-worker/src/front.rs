//! The Worker in front: finds the region's object, and does not let a caller hang when the object does.
//!
//! It holds no state and decides nothing about credentials: the object does, or the parent.

use crate::forward::Forward;
use crate::http::{self, Head};
use crate::log::log;
use crate::object::{LOCAL_REGION, NAME_PREFIX, body_ms_max};
use crate::settings::Settings;
use crate::signal::delay;
use futures_util::future::{Either, select};
use headwater_core::api::{
    self, ApiError, Code, HEADER_LAG, HEADER_MIN_POSITION, HEADER_POSITION, HEADER_WAIT, Route, WAIT_MS_DEFAULT,
    WAIT_MS_MAX,
};
use std::pin::pin;
use worker::{Context, Env, Method, Request, Response, Result, event};

/// How long an object may take to begin an answer; a panic inside it would leave the caller waiting for ever.
const OBJECT_MS: u64 = 2_000;

/// The same for what the object sends on to the parent, which takes its own time.
const FORWARDED_MS: u64 = 40_000;

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let settings = Settings::of(&env);
    let head = Head::of(&request);
    // Paths are judged here: on the way to the object the runtime resolves dots, which would make `keys/../../flags`
    // another route. Any other refusal is the object's, which says where its state is.
    let route = api::route(&head.method, head.path(), head.query());
    let (is_write, parent_may_answer) = match &route {
        Err(error) if error.code == Code::InvalidKey => {
            return refusal(&env, &settings, &request, error.clone()).await;
        }
        Ok(
            Route::CreateCollection
            | Route::DropCollection(_)
            | Route::Set { .. }
            | Route::Delete { .. }
            | Route::Batch(_)
            | Route::Key(_),
        ) => (true, false),
        Ok(Route::Read(_) | Route::Keys) => (false, true),
        // A node's own health, status and streams are not its parent's.
        Ok(_) | Err(_) => (false, false),
    };
    let region = region(&settings, &request);
    let why: String = {
        // What a client takes for its body is no silence of the object's, which has a clock for it.
        let has_body = request.inner().body().is_some();
        let body_ms = route.as_ref().ok().filter(|_| has_body).map_or(0, body_ms_max);
        let asked = ask(&env, &region, request);
        let timer = delay(body_ms + if is_write { FORWARDED_MS } else { OBJECT_MS + wait_ms(&head) });
        match select(pin!(asked), pin!(timer)).await {
            Either::Left((Ok(response), _)) => return Ok(response),
            Either::Left((Err(error), _)) => format!("{error}"),
            Either::Right(_) => "no answer in time".into(),
        }
    };
    log("error", "object_failed", &[("region", &region), ("why", &why)]);
    if is_write {
        let words = "the replica did not answer: the write may or may not have happened";
        return http::error(ApiError::new(Code::OutcomeUnknown, words), false);
    }
    match settings.parents.first() {
        Some(parent) if parent_may_answer && settings.answers_to(&head.header("host")) => {
            let forward = Forward { parent, head: &head, body: None, instance: None, probe: false };
            forward.send().await.or_else(|error| http::error(error, head.is_head()))
        }
        _ => http::error(ApiError::new(Code::NotReady, "the replica did not answer"), head.is_head()),
    }
}

/// Refuses a request in the object's place, and says where the object's state is as every answer does.
async fn refusal(env: &Env, settings: &Settings, request: &Request, error: ApiError) -> Result<Response> {
    let mut response = http::error(error, request.method() == Method::Head)?;
    let mut url = request.url()?;
    url.set_path("/healthz");
    url.set_query(None);
    let region = region(settings, request);
    let asked = ask(env, &region, Request::new(url.as_str(), Method::Get)?);
    if let Either::Left((Ok(health), _)) = select(pin!(asked), pin!(delay(OBJECT_MS))).await {
        for name in [HEADER_POSITION, HEADER_LAG] {
            if let Some(value) = health.headers().get(name)? {
                response.headers_mut().set(name, &value)?;
            }
        }
    }
    Ok(response)
}

async fn ask(env: &Env, region: &str, request: Request) -> Result<Response> {
    let objects = env.durable_object("REPLICA")?;
    let name = format!("{NAME_PREFIX}{region}");
    let object = match region {
        LOCAL_REGION => objects.get_by_name(&name)?,
        hint if HINTS.contains(&hint) => objects.get_by_name_with_location_hint(&name, hint)?,
        _ => objects.get_by_name(&name)?,
    };
    object.fetch_with_request(request).await
}

/// How long a read may have asked to wait for its position.
fn wait_ms(head: &Head) -> u64 {
    match head.header_if_any(HEADER_MIN_POSITION) {
        None => 0,
        Some(_) => head.header(HEADER_WAIT).trim().parse().unwrap_or(WAIT_MS_DEFAULT).min(WAIT_MS_MAX),
    }
}

/// Places where the provider takes a hint to put an object
/// (<https://developers.cloudflare.com/durable-objects/reference/data-location/>).
const HINTS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

/// The region whose object answers: the one that is set, or the one the request came in at.
fn region(settings: &Settings, request: &Request) -> String {
    let came_in_at = || match request.cf() {
        None => LOCAL_REGION,
        Some(cf) => place(&cf.continent().unwrap_or_default(), cf.coordinates().map(|(_, longitude)| longitude)),
    };
    settings.region.clone().unwrap_or_else(|| came_in_at().into())
}

fn place(continent: &str, longitude: Option<f32>) -> &'static str {
    let west_of = |meridian: f32| longitude.is_none_or(|longitude| longitude < meridian);
    match continent {
        "NA" if longitude.is_some() && west_of(-100.0) => "wnam",
        "NA" => "enam",
        "SA" => "sam",
        "EU" if west_of(16.0) => "weur",
        "EU" => "eeur",
        "AS" if longitude.is_some() && west_of(60.0) => "me",
        "AS" => "apac",
        "OC" => "oc",
        "AF" => "afr",
        _ => LOCAL_REGION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_hints_of_the_provider() {
        for (continent, longitude, hint) in [
            ("NA", Some(-122.0), "wnam"),
            ("NA", Some(-74.0), "enam"),
            ("NA", None, "enam"),
            ("EU", Some(2.3), "weur"),
            ("EU", Some(30.5), "eeur"),
            ("AS", Some(55.3), "me"),
            ("AS", Some(139.7), "apac"),
            ("AF", Some(3.4), "afr"),
            ("OC", Some(151.2), "oc"),
            ("SA", Some(-46.6), "sam"),
        ] {
            assert_eq!(place(continent, longitude), hint, "{continent} {longitude:?}");
            assert!(HINTS.contains(&hint));
        }
        assert_eq!(place("", None), LOCAL_REGION);
    }
}
