//! The addresses that a host stands for: `localhost` is 127.0.0.1 for a server, also where the system lists
//! `::1` first, and no host is all interfaces; clients try every address.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Failed, Trial};

use crate::output::servers;
use crate::support::{Server, example};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::ignorable_test("clients::find_a_server_at_127_0_0_1", || {
            clients_find_it("127.0.0.1")
        }),
        Trial::ignorable_test("clients::find_a_server_at_1", || clients_find_it("::1")),
    ];
    for name in servers().expect("the folder of the examples can be read") {
        let own = name.clone();
        trials.push(Trial::ignorable_test(
            format!("{name}::localhost_is_an_address_of_ipv4"),
            move || listens_on_ipv4(&own),
        ));
        trials.push(Trial::test(format!("{name}::no_host_is_all_interfaces"), move || {
            listens_on_all_interfaces(&name)
        }));
    }
    trials
}

/// Runs a command where the system lists IPv6 first for `localhost`; `None` where that takes rights.
fn with_ipv6_first(command: &Command) -> Result<Option<Command>, Failed> {
    const HOSTS: &str = "::1 localhost\n127.0.0.1 localhost\n";

    let hosts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts");
    if !fs::read_to_string(&hosts).is_ok_and(|hosts| hosts == HOSTS) {
        fs::write(&hosts, HOSTS)?;
    }
    let run = |program: &str, arguments: Vec<&std::ffi::OsStr>| {
        let mut unshared = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        unshared.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(&hosts);
        unshared.arg(program).args(arguments);
        unshared
    };
    let tried = run("true", Vec::new()).stderr(Stdio::null()).status();
    let program = command.get_program().to_str().ok_or("a path")?;
    Ok(tried.is_ok_and(|it| it.success()).then(|| run(program, command.get_args().collect())))
}

const NO_RIGHTS: &str = "this system does not let the test replace /etc/hosts";

fn server(name: &str, addr: &str, folder: &Path) -> Command {
    let mut command = example(name);
    command.args(["--addr", addr]).stdin(Stdio::null());
    if name == "ftp_server" {
        command.arg(folder);
    }
    command
}

fn listens_on_ipv4(name: &str) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let Some(mut command) = with_ipv6_first(&server(name, "localhost:0", folder.path()))? else {
        return Ok(Completion::ignored_with(NO_RIGHTS));
    };
    command.stdin(Stdio::null());
    let server = Server::start_with(command);
    let address = server.address;
    if name == "asyncio_start_server" {
        // As Python's, it listens on every address of the host.
        server.expect_line("listening on ");
        server.stop();
        return Ok(Completion::Completed);
    }
    server.stop();
    assert_eq!(address.ip().to_string(), "127.0.0.1");
    Ok(Completion::Completed)
}

fn listens_on_all_interfaces(name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for addr in [":0", "0.0.0.0:0"] {
        let server = Server::start_with(server(name, addr, folder.path()));
        let address = server.address;
        server.stop();
        assert_eq!(address.ip().to_string(), "0.0.0.0");
    }
    Ok(())
}

fn clients_find_it(ip: &str) -> Result<Completion, Failed> {
    if ip == "::1" && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return Ok(Completion::ignored_with("this system has no IPv6"));
    }
    let folder = tempfile::tempdir()?;
    let address = |port| if ip == "::1" { format!("[::1]:{port}") } else { format!("{ip}:{port}") };
    for (client, name, input, printed) in [
        ("welcome_client", "welcome_server", "", "欢迎访问服务器!"),
        ("keepalive_client", "keepalive_server", "hello\n", "Server received your message."),
        ("ftp_client", "ftp_server", "list\n", "文件库为空"),
        ("many_clients", "echo_selector", "", "0 clients failed"),
        ("udp_client", "udp_server", "", ""),
    ] {
        let server = Server::start_with(server(name, &address(0), folder.path()));
        let mut command = example(client);
        command.arg(format!("localhost:{}", server.address.port()));
        if client == "many_clients" {
            command.args(["--clients", "3"]);
        }
        let Some(mut command) = with_ipv6_first(&command)? else {
            return Ok(Completion::ignored_with(NO_RIGHTS));
        };
        let keyboard = folder.path().join(".keyboard");
        fs::write(&keyboard, input)?;
        let output = command.stdin(fs::File::open(&keyboard)?).output()?;
        let out = String::from_utf8(output.stdout)?;
        let error = String::from_utf8(output.stderr)?;
        assert!(output.status.success() && out.contains(printed), "{client}: {out}{error}");
        if client == "udp_client" {
            server.expect_line("Hello, Server!");
        }
        server.stop();
    }
    Ok(Completion::Completed)
}
