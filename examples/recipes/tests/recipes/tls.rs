//! `tls_server` and `tls_proxy`: openssl, Python and curl.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::{Certificate, Program, curl, output_of, python};

pub const CASES: &[Case] = &[
    ("tls_server_echoes_to_openssl", "openssl", |backend| {
        talks_with_openssl(&Echo::server(backend)?)
    }),
    ("tls_server_echoes_megabytes_to_python", "python3", |backend| {
        talks_with_python(&Echo::server(backend)?)
    }),
    ("tls_server_drops_what_is_no_tls_and_goes_on", "python3", |backend| {
        survives_nonsense(&Echo::server(backend)?)
    }),
    ("tls_proxy_passes_on_to_openssl", "openssl python3", |backend| {
        talks_with_openssl(&Echo::proxy(backend)?)
    }),
    ("tls_proxy_passes_megabytes_on_to_python", "python3", |backend| {
        talks_with_python(&Echo::proxy(backend)?)
    }),
    ("tls_proxy_drops_what_is_no_tls_and_goes_on", "python3", |backend| {
        survives_nonsense(&Echo::proxy(backend)?)
    }),
    ("tls_proxy_stands_before_an_http_server", "curl", stands_before_http),
];

/// A server that echoes by TLS.
struct Echo {
    programs: Vec<Program>,
    certificate: Certificate,
    address: std::net::SocketAddr,
}

impl Echo {
    fn server(backend: Backend) -> Result<Self, Failed> {
        let certificate = Certificate::new()?;
        let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
        let arguments = ["127.0.0.1:0", &cert, &key];
        let server = Program::recipe(env!("CARGO_BIN_EXE_tls_server"), backend, &arguments);
        let address = server.address();
        Ok(Self { programs: vec![server], certificate, address })
    }

    /// A proxy before an echo by TCP.
    fn proxy(backend: Backend) -> Result<Self, Failed> {
        let arguments = ["-c", ECHO];
        let echo = Program::start(Command::new("python3").args(arguments));
        let target = echo.address().to_string();
        let certificate = Certificate::new()?;
        let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
        let arguments = ["127.0.0.1:0", &cert, &key, &target];
        let proxy = Program::recipe(env!("CARGO_BIN_EXE_tls_proxy"), backend, &arguments);
        let address = proxy.address();
        Ok(Self { programs: vec![proxy, echo], certificate, address })
    }

    fn arguments(&self) -> [String; 2] {
        [self.address.port().to_string(), self.certificate.path("cert.pem")]
    }
}

/// An echo by TCP that passes the end on.
const ECHO: &str = r"
import socket, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Echo)
print('listening on %s:%d' % server.server_address, flush=True)
server.serve_forever()
";

fn talks_with_openssl(echo: &Echo) -> Result<(), Failed> {
    let (address, cert) = (echo.address.to_string(), echo.certificate.path("cert.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost"]);
    openssl.args(["-connect", &address, "-CAfile", &cert]).stderr(Stdio::null());
    let mut client = Program::start(&mut openssl);
    for line in ["one", "two", "three"] {
        client.write(&format!("{line}\n"));
        assert_eq!(client.expect_line(""), line);
    }
    Ok(())
}

/// Four clients at a time, each of which has three megabytes echoed, and says its farewell.
const CLIENTS: &str = r"
import socket, ssl, sys, threading
context = ssl.create_default_context(cafile=sys.argv[2])
sent = bytes(index % 251 for index in range(3_000_000))
whole = []
def talk():
    raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=50)
    with context.wrap_socket(raw, server_hostname='localhost') as tls:
        came = bytearray()
        # In pieces of more than one record, because a socket of Python's TLS is for one thread at a time.
        for start in range(0, len(sent), 50_000):
            tls.sendall(sent[start:start + 50_000])
            while len(came) < start + 50_000:
                data = tls.recv(65536)
                if not data: return
                came += data
        # The server answers the farewell with its own.
        tls.unwrap().close()
        whole.append(came == sent)
clients = [threading.Thread(target=talk) for _ in range(4)]
for client in clients: client.start()
for client in clients: client.join()
print(whole)
";

fn talks_with_python(echo: &Echo) -> Result<(), Failed> {
    assert_eq!(python(CLIENTS, &echo.arguments())?, "[True, True, True, True]\n");
    assert!(!echo.programs.is_empty());
    Ok(())
}

const NONSENSE: &str = r"
import socket, ssl, sys
port = int(sys.argv[1])
for nonsense in (b'GET / HTTP/1.1\r\n\r\n', b'\x16\x03\x01\x00\x05hello', b'\x00' * 5000):
    with socket.create_connection(('127.0.0.1', port), timeout=50) as raw:
        raw.sendall(nonsense)
        try:
            while raw.recv(1000): pass
        except ConnectionResetError: pass
context = ssl.create_default_context(cafile=sys.argv[2])
raw = socket.create_connection(('127.0.0.1', port), timeout=50)
with context.wrap_socket(raw, server_hostname='localhost') as tls:
    tls.sendall(b'still there?')
    print(tls.recv(100).decode())
";

fn survives_nonsense(echo: &Echo) -> Result<(), Failed> {
    assert_eq!(python(NONSENSE, &echo.arguments())?, "still there?\n");
    Ok(())
}

fn stands_before_http(backend: Backend) -> Result<(), Failed> {
    let http = Program::recipe(env!("CARGO_BIN_EXE_http_hyper"), backend, &["127.0.0.1:0"]);
    let target = http.address().to_string();
    let certificate = Certificate::new()?;
    let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
    let arguments = ["127.0.0.1:0", &cert, &key, &target];
    let proxy = Program::recipe(env!("CARGO_BIN_EXE_tls_proxy"), backend, &arguments);
    let root = format!("https://localhost:{}", proxy.address().port());
    let urls = [format!("{root}/hello/curl"), format!("{root}/hello/again")];
    let pages = output_of(curl().args(["--ipv4", "--cacert", &cert]).args(urls))?;
    assert_eq!(pages, "hello, curl, you are number 1\nhello, again, you are number 2\n");
    Ok(())
}
