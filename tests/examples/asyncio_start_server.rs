use std::io::Read;
use std::thread;

use libtest_mimic::{Completion, Failed, Trial};
use polyselect::Backend;

use crate::asyncio_echo;
use crate::support::example;
use crate::support::python::talk_with_python;
use crate::support::subject::{Subject, connect};

static SUBJECT: Subject = Subject { example: "asyncio_start_server", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(Backend::available());
    trials.extend(SUBJECT.own(&[
        ("says_what_it_does", || asyncio_echo::says_what_it_does(&SUBJECT)),
        ("ten_thousand_clients", ten_thousand_clients),
    ]));
    let name = "lets_clients_finish_after_ctrl_c";
    trials.extend(SUBJECT.own_on(Backend::available(), name, lets_clients_finish));
    for backend in Backend::available() {
        let name = format!("asyncio_start_server::{backend}::python_asyncio_clients");
        trials.push(Trial::ignorable_test(name, move || python_clients(backend)));
    }
    trials
}

fn lets_clients_finish(backend: Backend) -> Result<(), Failed> {
    let server = SUBJECT.start_quietly(backend);
    let clients = [connect(server.address)?, connect(server.address)?];
    for client in &clients {
        SUBJECT.talk(client, b"hello")?;
    }
    let address = server.address;
    let stopping = thread::spawn(move || server.stop());
    crate::support::wait_until(|| connect(address).is_err());
    // One goes on until the limit of the stop, the other ends before.
    let [mut lasting, ending] = clients;
    SUBJECT.talk(&ending, b"last words")?;
    drop(ending);
    SUBJECT.talk(&lasting, b"still here")?;
    assert_eq!(lasting.read(&mut [0])?, 0);
    stopping.join().expect("it stops");
    Ok(())
}

fn python_clients(backend: Backend) -> Result<Completion, Failed> {
    talk_with_python("asyncio_echo.py", || SUBJECT.start_quietly(backend), 100, 100_000)
}

fn ten_thousand_clients() -> Result<(), Failed> {
    let server = SUBJECT.start_quietly(Backend::available().next().expect("one at least"));
    let output = example("many_clients").arg(server.address.to_string()).output()?;
    let out = String::from_utf8(output.stdout)?;
    // If the system allows fewer descriptors, `many_clients` prints how many clients it opened.
    let (clients, _) = out.split_once(" clients connected, ").ok_or_else(|| out.clone())?;
    let clients: u64 = clients.rsplit('\n').next().unwrap_or_default().parse()?;
    let replies = format!("{} replies verified, 0 clients failed", 3 * clients);
    assert!(output.status.success() && out.contains(&replies), "{out}");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    assert!(clients == 10_000 || limit.is_some_and(|limit| limit < 10_100), "{out}");
    server.stop();
    Ok(())
}
