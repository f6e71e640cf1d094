use std::process::Command;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::example;
use crate::support::subject::Subject;

static SUBJECT: Subject = Subject { example: "epoll_server", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(Backend::available());
    trials.extend(SUBJECT.own(&[
        ("measures_each_mechanism", measures_each_mechanism),
        ("says_how_many_descriptors_it_needs", says_how_many_descriptors_it_needs),
    ]));
    trials
}

fn measures_each_mechanism() -> Result<(), Failed> {
    let output = example("epoll_server").args(["--idle", "100"]).output()?;
    let out = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{out}");
    for active in ["1", "100"] {
        let title = format!("microseconds for a wait with {active} active connections, by idle");
        let mut lines = out.lines().skip_while(|line| !line.starts_with(&title)).skip(1);
        let idle: Vec<_> = lines.next().ok_or("no idle")?.split_whitespace().collect();
        assert_eq!(idle, ["1", "10", "100"]);
        for backend in Backend::available() {
            let mut cells = lines.next().ok_or("no row")?.split_whitespace();
            assert_eq!(cells.next(), Some(backend.name()));
            let times = cells.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
            assert!(times.len() == 3 && times.iter().all(|&time| time > 0.0), "{out}");
        }
    }
    Ok(())
}

fn says_how_many_descriptors_it_needs() -> Result<(), Failed> {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1000; exec \"$@\"", "sh"]);
    let output =
        command.arg(example("epoll_server").get_program()).args(["--idle", "5000"]).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(!output.status.success() && error.contains("`ulimit -n 10264`"), "{error}");
    Ok(())
}
