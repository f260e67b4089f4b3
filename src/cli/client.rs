//! A running server, as the command line talks to it.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
};

use crate::error::{Context, Error, Kind, Result};

/// Tries of one request before giving up.
const TRIES_MAX: u32 = 8;
/// Longest that a request may take that goes over all files: over a long history that takes hours.
pub const PASS_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest that any other may.
const ANSWER_MAX: Duration = Duration::from_secs(300);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A client with the command line's time limits and its key. A server on this machine is never asked through a
/// proxy, whatever the environment says.
pub fn client(url: &str, key: Option<&str>) -> Result<Client> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
            .kind_context(Kind::Invalid, || "the key is no text that a header can carry".into())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let builder =
        Client::builder().default_headers(headers).connect_timeout(Duration::from_secs(5)).timeout(ANSWER_MAX);
    let builder = if is_local(url) { builder.no_proxy() } else { builder };
    builder.build().context("cannot set up the HTTP client")
}

fn is_local(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// Sends a request; an answer that is no success becomes its own message.
pub async fn send(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(|error| {
        let what = match error.is_timeout() && !error.is_connect() {
            true => "the server did not answer in time; it may still be at work",
            false => "cannot reach the server; is `driftline serve` running there?",
        };
        Error::new(Kind::Internal, what).with_source(error)
    })?;
    if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
}

/// The text of an answer that comes as text or as JSON; the latter laid out for people.
pub async fn text_or_json(request: RequestBuilder, as_json: bool) -> Result<String> {
    let format = if as_json { "json" } else { "text" };
    let text = send(request.query(&[("format", format)])).await?.text().await.context("the answer broke off")?;
    if !as_json {
        return Ok(text);
    }
    pretty(&serde_json::from_str::<serde_json::Value>(&text).context("the answer is not JSON")?)
}

/// JSON laid out for people.
pub fn pretty(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").context("cannot write the answer")
}

/// Sends a request that is safe to repeat; waits and tries again while the server is busy or away.
pub async fn send_patiently(request: RequestBuilder) -> Result<Response> {
    let mut pause = Duration::from_millis(250);
    for attempt in 1.. {
        let again = request.try_clone().ok_or_else(|| Error::new(Kind::Internal, "the request cannot be repeated"))?;
        let failure = match again.send().await {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) if is_passing(response.status()) => {
                if let Some(seconds) = retry_after(&response) {
                    pause = pause.max(seconds);
                }
                refusal(response).await
            }
            Ok(response) => return Err(refusal(response).await),
            Err(error) => Error::new(Kind::Busy, "cannot reach the server").with_source(error),
        };
        if attempt >= TRIES_MAX {
            return Err(failure);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err(Error::new(Kind::Internal, "no try was made"))
}

fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    let body: serde_json::Value = response.json().await.unwrap_or_default();
    let message =
        body["error"]["message"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
    let kind = if status.is_client_error() { Kind::Invalid } else { Kind::Internal };
    Error::new(kind, message)
}
