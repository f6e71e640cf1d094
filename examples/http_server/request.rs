//! Requests: finds the end of one in the input, and parses or rejects it.

use http::{Method, StatusCode, Uri};
use httparse::Status;

/// The longest request line in bytes.
pub const LONGEST_LINE: usize = 8 * 1024;
/// The longest head in bytes, and the largest number of fields.
pub const LONGEST_HEAD: usize = 16 * 1024;
const MOST_FIELDS: usize = 64;

/// A valid request.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    /// Whether the connection is closed after the response.
    pub closes: bool,
    /// Whether the client speaks HTTP/1.0, which needs `Connection: keep-alive` in the response.
    pub is_old: bool,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_none_match: Option<String>,
    /// The request line as received; for the log.
    pub line: String,
}

/// The reason for an error response.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub why: &'static str,
}

impl Refusal {
    pub fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why }
    }

    fn bad(why: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }
}

/// Parses the first request of `input`, and returns the number of bytes it takes; `None` if it is
/// not complete.
pub fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(input).map_err(refuse);
    let line_end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    if line_end > LONGEST_LINE {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the request line is too long"));
    }
    match status? {
        Status::Complete(length) if length <= LONGEST_HEAD => {
            Ok(Some((understand(&parsed)?, length)))
        }
        Status::Partial if input.len() < LONGEST_HEAD => Ok(None),
        _ => Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the fields of the request are too long",
        )),
    }
}

fn refuse(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request has too many fields",
        ),
        httparse::Error::Version => Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "this server speaks HTTP/1.1 and HTTP/1.0",
        ),
        _ => Refusal::bad("the request is not valid HTTP"),
    }
}

fn understand(parsed: &httparse::Request<'_, '_>) -> Result<Request, Refusal> {
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::bad("the request is not valid HTTP"));
    };
    let line = format!("{method} {target} HTTP/1.{minor}");
    let is_old = minor == 0;
    let mut hosts = 0;
    let mut has_body = false;
    let (mut wants_close, mut wants_more) = (false, false);
    let (mut range, mut if_range) = (None, None);
    let (mut if_modified_since, mut if_none_match) = (None, None);
    for field in parsed.headers.iter() {
        let value = String::from_utf8_lossy(field.value).trim().to_owned();
        match field.name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "connection" => {
                for option in value.split(',').map(str::trim) {
                    wants_close |= option.eq_ignore_ascii_case("close");
                    wants_more |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
            "content-length" => {
                if value.is_empty() || !value.bytes().all(|digit| digit.is_ascii_digit()) {
                    return Err(Refusal::bad("the Content-Length is not a number"));
                }
                has_body |= value.bytes().any(|digit| digit != b'0');
            }
            "transfer-encoding" => has_body = true,
            "range" => range = Some(value),
            "if-range" => if_range = Some(value),
            "if-modified-since" => if_modified_since = Some(value),
            "if-none-match" => if_none_match = Some(value),
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && !is_old) {
        return Err(Refusal::bad("a request has one Host field"));
    }
    let method = method.parse().map_err(|_| Refusal::bad("the request is not valid HTTP"))?;
    let uri = target.parse().map_err(|_| Refusal::bad("the request has no path"))?;
    Ok(Request {
        method,
        uri,
        // A body is not read, so the request after it cannot be located.
        closes: has_body || wants_close || (is_old && !wants_more),
        is_old,
        range,
        if_range,
        if_modified_since,
        if_none_match,
        line,
    })
}
