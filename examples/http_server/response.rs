//! Responses, ready to be sent.

use std::fmt::Write;
use std::fs::File;
use std::time::SystemTime;

use http::StatusCode;

use crate::request::{Refusal, Request};

#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    fields: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Nothing,
    Text(String),
    /// The next bytes of a file, from its current offset.
    File(File, u64),
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Text(text) => text.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

impl Response {
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self { status, fields: Vec::new(), body }
    }

    pub fn page(status: StatusCode, page: String) -> Self {
        Self::new(status, Body::Text(page)).with("Content-Type", "text/html; charset=utf-8")
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Returns the status line and the fields; `request` is `None` if the input was not a request.
    pub fn head(&self, request: Option<&Request>) -> String {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        let mut field = |name: &str, value: &str| {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        };
        field("Date", &httpdate::fmt_http_date(SystemTime::now()));
        for (name, value) in &self.fields {
            field(name, value);
        }
        if self.status != StatusCode::NOT_MODIFIED {
            field("Content-Length", &self.body.len().to_string());
        }
        match request {
            Some(request) if !request.closes && !request.is_old => {}
            Some(request) if !request.closes => field("Connection", "keep-alive"),
            _ => field("Connection", "close"),
        }
        head.push_str("\r\n");
        head
    }
}

impl From<Refusal> for Response {
    fn from(Refusal { status, why }: Refusal) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<title>{status}</title>\n<h1>{status}</h1>\n<p>Sorry: {why}.</p>\n"
        );
        let response = Self::page(status, page);
        match status {
            StatusCode::METHOD_NOT_ALLOWED => response.with("Allow", "GET, HEAD"),
            _ => response,
        }
    }
}
