//! One HTTP request.

use super::download::Received;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use ureq::http::StatusCode;

/// The useful part of an answer.
pub(super) struct Response {
    /// The offset of the body's first byte in the whole file.
    pub(super) start: u64,
    /// The length of the whole file, if the server says.
    pub(super) total: Option<u64>,
    /// The bytes from `start` on.
    pub(super) body: Box<dyn Read>,
}

/// Asks for the bytes of `url` from `start` on; the server may give all of them instead.
///
/// # Errors
/// How the request ended, if not with a body.
pub(super) fn get(url: &str, start: u64) -> Result<Response, Received> {
    let builder = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        // The slowest line that is worth waiting for: 170 MB at 50 kB/s.
        .timeout_recv_body(Some(Duration::from_secs(3600)))
        .user_agent(concat!("pleach/", env!("CARGO_PKG_VERSION")));
    // A proxy is for what is elsewhere, even where nothing says so.
    let builder = if is_here(url) { builder.proxy(None) } else { builder };
    let mut request = builder.build().new_agent().get(url);
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
            return Err(Received::Refused(error.to_string()));
        }
        Err(error) => return Err(Received::Broken(error.to_string())),
    };
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let len = header("content-length").and_then(|len| len.parse::<u64>().ok());
    let (start, total) = match status {
        StatusCode::OK => (0, len),
        StatusCode::PARTIAL_CONTENT => {
            let range = header("content-range").unwrap_or_default();
            match content_range(range) {
                Some((first, total)) if first == start => (start, total),
                _ => return Err(Received::Refused(format!("the range {range:?}"))),
            }
        }
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Received::Broken(format!("the answer {status}")));
        }
        _ => return Err(Received::Refused(format!("the answer {status}"))),
    };
    Ok(Response { start, total, body: Box::new(response.into_body().into_reader()) })
}

/// Whether the server is this machine.
fn is_here(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    uri.as_ref().and_then(|uri| uri.host()).is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// The first byte and the total of `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in ["http://127.0.0.1:80/x", "http://localhost/x", "http://[::1]:8080/x"] {
            assert!(is_here(url), "{url}");
        }
        for url in ["https://example.org/127.0.0.1", "http://128.0.0.1/", "no address"] {
            assert!(!is_here(url), "{url}");
        }
    }
}
