use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::subject::{Subject, connect};

static SUBJECT: Subject = Subject { example: "asyncio_echo", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(Backend::available());
    trials.extend(SUBJECT.own(&[("says_what_it_does", || says_what_it_does(&SUBJECT))]));
    let name = "who_never_stops_leaves_room_for_others";
    trials.extend(
        SUBJECT
            .own_on(Backend::available(), name, |backend| SUBJECT.leaves_room_for_others(backend)),
    );
    trials
}

/// Run for `asyncio_start_server` too, which behaves the same.
pub fn says_what_it_does(subject: &Subject) -> Result<(), Failed> {
    let server = subject.start(Backend::Poll);
    server.expect_line(&format!("Serving on {}", server.address));
    let client = connect(server.address)?;
    subject.talk(&client, b"hello\n")?;
    server.expect_line("Received hello");
    server.expect_line(" from 127.0.0.1:");
    server.expect_line("Send: \"hello\\n\"");
    drop(client);
    server.expect_line("Closing the connection");
    server.stop();
    Ok(())
}
