//! `http_hyper`: curl by both protocols.

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::{Program, curl, output_of};

pub const CASES: &[Case] = &[
    ("http_hyper_answers_curl_by_http1", "curl", |backend| answers(backend, "--http1.1")),
    ("http_hyper_answers_curl_by_http2", "curl", |backend| {
        answers(backend, "--http2-prior-knowledge")
    }),
    ("http_hyper_answers_what_is_in_progress_before_it_ends", "curl", ends_gracefully),
];

fn start(backend: Backend) -> (Program, String) {
    let server = Program::recipe(env!("CARGO_BIN_EXE_http_hyper"), backend, &["127.0.0.1:0"]);
    let root = format!("http://{}", server.address());
    (server, root)
}

fn answers(backend: Backend, protocol: &str) -> Result<(), Failed> {
    let (server, root) = start(backend);
    let get = |path: &str| output_of(curl().args([protocol, &format!("{root}{path}")]));
    assert_eq!(get("/hello/world")?, "hello, world, you are number 1\n");
    assert_eq!(get("/hello/you")?, "hello, you, you are number 2\n");
    assert_eq!(get("/wait/20")?, "20 ms later\n");
    assert!(get("/manifest")?.contains("polyselect-recipes"));
    assert!(get("/missing").is_err());
    let text = "abc".repeat(30_000);
    let post = [protocol, "--data", &text, &format!("{root}/shout")];
    assert!(output_of(curl().args(post))? == text.to_uppercase());
    server.interrupt();
    assert_eq!(server.wait(), ["stopped, 0 connections cut off"]);
    Ok(())
}

fn ends_gracefully(backend: Backend) -> Result<(), Failed> {
    let (server, root) = start(backend);
    let mut waiting = Program::start(
        curl().arg("--verbose").arg(format!("{root}/wait/500")).stderr(std::process::Stdio::null()),
    );
    waiting.close_input();
    // Another request is answered, so the first has begun.
    output_of(curl().arg(format!("{root}/wait/100")))?;
    server.interrupt();
    waiting.expect_line("500 ms later");
    assert_eq!(server.wait(), ["stopped, 0 connections cut off"]);
    Ok(())
}
