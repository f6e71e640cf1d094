use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use rustix::process::{Pid, Signal, kill_process};

use crate::closed_port::closed_port;
use crate::support::{Server, example, wait};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("many_clients::compares_each_byte", compares_each_byte),
        Trial::test("many_clients::says_how_to_raise_the_limit", says_how_to_raise_the_limit),
        Trial::test("many_clients::gives_up_in_the_end", gives_up_in_the_end),
        Trial::test(
            "many_clients::opens_no_more_than_the_server_may_have_to_queue",
            bounds_the_unanswered,
        ),
        Trial::test("many_clients::nobody_listens", nobody_listens),
        Trial::test("many_clients::ctrl_c_stops_it", ctrl_c_stops_it),
    ];
    for backend in Backend::available() {
        let name = format!("many_clients::{backend}::five_hundred");
        trials.push(Trial::test(name, move || five_hundred(backend)));
    }
    trials
}

fn serve(name: &str, backend: &str) -> Server {
    let mut command = example(name);
    command.args(["--addr", "127.0.0.1:0", "--backend", backend]).env("RUST_LOG", "off");
    Server::start_with(command)
}

fn run(address: &impl ToString, arguments: &[&str]) -> Result<(bool, String, String), Failed> {
    output(example("many_clients").arg(address.to_string()).args(arguments).output()?)
}

fn output(output: Output) -> Result<(bool, String, String), Failed> {
    let (out, error) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok((output.status.success(), out, error))
}

fn five_hundred(backend: Backend) -> Result<(), Failed> {
    let server = serve("echo_selector", backend.name());
    let arguments = ["--clients", "500", "--backend", backend.name()];
    let (success, out, _) = run(&server.address, &arguments)?;
    assert!(success, "{out}");
    let expected = "500 clients connected, 1500 replies verified, 0 clients failed, in ";
    assert!(out.contains(expected), "{out}");
    let rows = out.lines().skip_while(|line| !line.contains("p50"));
    let rows: Vec<Vec<_>> = rows.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["p50", "p90", "p99", "max"]);
    for (row, name) in rows[1..].iter().zip(["connect", "reply"]) {
        assert_eq!(row[0], name);
        let times = row[1..].chunks(2).map(|cell| cell[0].parse());
        let times = times.collect::<Result<Vec<f64>, _>>()?;
        assert!(times.len() == 4 && times.is_sorted(), "{out}");
    }
    server.stop();
    Ok(())
}

fn compares_each_byte() -> Result<(), Failed> {
    let server = serve("select_queue", "select");
    let (success, out, _) = run(&server.address, &["--clients", "30", "--upper"])?;
    assert!(success && out.contains("90 replies verified, 0 clients failed"), "{out}");
    let (success, out, _) = run(&server.address, &["--clients", "30"])?;
    let wrong = "received \"THIS IS THE MESSAGE. \" instead of \"This is the message. \"";
    assert!(out.contains(wrong) && out.contains("0 replies verified, 30 clients failed"), "{out}");
    assert!(!success);
    server.stop();
    Ok(())
}

fn says_how_to_raise_the_limit() -> Result<(), Failed> {
    let server = serve("select_queue", "select");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]);
    command.arg(example("many_clients").get_program()).arg(server.address.to_string());
    let (success, out, _) = output(command.args(["--upper", "--clients", "200"]).output()?)?;
    assert!(success && out.contains("68 clients instead of 200; `ulimit -n 232`"), "{out}");
    assert!(out.contains("68 clients connected, 204 replies verified"), "{out}");
    server.stop();
    Ok(())
}

fn gives_up_in_the_end() -> Result<(), Failed> {
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let arguments = ["--clients", "3", "--patience", "1"];
    let (success, out, error) = run(&silent.local_addr()?, &arguments)?;
    assert!(!success && out.contains("3 clients connected, 0 replies verified"), "{out}");
    assert!(error.contains("nothing has happened for 1s, and 3 clients wait"), "{error}");
    Ok(())
}

/// A connection without an answer may still be in the accept queue.
fn bounds_the_unanswered() -> Result<(), Failed> {
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let arguments = ["--clients", "1000", "--at-once", "100", "--patience", "1"];
    let (success, out, error) = run(&silent.local_addr()?, &arguments)?;
    assert!(!success && out.contains("100 clients connected, 0 replies verified"), "{out}");
    assert!(error.contains("nothing has happened for 1s, and 100 clients wait"), "{error}");
    Ok(())
}

fn nobody_listens() -> Result<(), Failed> {
    let (_closed, address) = closed_port();
    let (success, _, error) = run(&address, &["--clients", "3"])?;
    assert!(
        !success && error.contains("refused") && error.contains(&address.to_string()),
        "{error}"
    );
    let (success, _, error) = run(&"nowhere", &[])?;
    assert!(!success && error.contains("nowhere"), "{error}");
    Ok(())
}

fn ctrl_c_stops_it() -> Result<(), Failed> {
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let mut command = example("many_clients");
    command.arg(silent.local_addr()?.to_string()).args(["--clients", "3"]);
    let mut client = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(client.stdout.take().ok_or("is a pipe")?).lines();
    assert!(lines.next().ok_or("says nothing")??.starts_with("connecting to "));
    kill_process(Pid::from_child(&client), Signal::INT)?;
    assert!(wait(&mut client).success());
    let rest = lines.collect::<Result<Vec<_>, _>>()?;
    assert!(rest.iter().any(|line| line == "stopped by Ctrl-C"), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("0 replies verified")), "{rest:?}");
    Ok(())
}
