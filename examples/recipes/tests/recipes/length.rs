//! A recipe is short enough to be read.

use libtest_mimic::Trial;

const RECIPES: &[(&str, &str)] = &[
    ("curl_multi", include_str!("../../curl_multi.rs")),
    ("http_hyper", include_str!("../../http_hyper.rs")),
    ("pass_descriptors", include_str!("../../pass_descriptors.rs")),
    ("psql_notify", include_str!("../../psql_notify.rs")),
    ("tls_proxy", include_str!("../../tls_proxy.rs")),
    ("tls_server", include_str!("../../tls_server.rs")),
    ("websocket_chat", include_str!("../../websocket_chat.rs")),
    ("zoo", include_str!("../../zoo.rs")),
];

pub fn trials() -> Vec<Trial> {
    let trial = |&(name, text): &(&str, &'static str)| {
        Trial::test(format!("{name}_has_fewer_than_150_lines"), move || {
            let lines = text.lines().count();
            if lines < 150 { Ok(()) } else { Err(format!("it has {lines}").into()) }
        })
    };
    RECIPES.iter().map(trial).collect()
}
