//! An echo over TLS by callbacks: rustls does the protocol, and the loop says when the socket is ready.
//!
//! rustls has no socket. It takes what came (`read_tls`, then `process_new_packets`), gives what is to be sent
//! (`write_tls`), and says by `wants_write` whether something is. So a callback reads only when all is sent: a client
//! that does not read its echo is not read from either.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin tls_server -- localhost:4433 cert.pem key.pem
//! openssl s_client -connect localhost:4433 -CAfile cert.pem
//! ```

mod failure;

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use polyselect::{EventLoop, Interest, Next};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// The TLS half of a connection.
struct Session {
    tls: ServerConnection,
    /// Whether the client has said that it sends no more.
    is_closing: bool,
}

/// `None` if it would block.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Session {
    /// Does what the socket allows now. One read for each event, so that no client starves the others; what is left is
    /// reported again, because the loop is level-triggered.
    fn on_event(&mut self, mut socket: &TcpStream) -> io::Result<Next> {
        if !self.tls.wants_write() && !self.is_closing {
            match unless_blocked(self.tls.read_tls(&mut socket))? {
                // Without a farewell, what came may be a part only.
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(_) => self.echo(socket)?,
                None => {}
            }
        }
        while self.tls.wants_write() {
            if unless_blocked(self.tls.write_tls(&mut socket))?.is_none() {
                return Ok(Next::Modify(Interest::WRITABLE));
            }
        }
        if self.is_closing {
            return Ok(Next::Remove);
        }
        Ok(Next::Modify(Interest::READABLE))
    }

    fn echo(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        let state = self.tls.process_new_packets().map_err(|error| {
            // The client learns why, if its socket has room for that.
            let _ = self.tls.write_tls(&mut socket);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut plain)?;
        self.tls.writer().write_all(&plain)?;
        if state.peer_has_closed() {
            self.tls.send_close_notify();
            self.is_closing = true;
        }
        Ok(())
    }
}

fn configure(certificates: &str, key: &str) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let certificates = CertificateDer::pem_file_iter(certificates)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(Arc::new(config))
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [address, certificates, key] = &arguments[..] else {
        return Err("usage: tls_server HOST:PORT CERTIFICATES.pem KEY.pem".into());
    };
    let config = configure(certificates, key)?;
    // Before the loop begins, a name may be looked up here.
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let mut event_loop = EventLoop::new(())?;
    event_loop.accept(listener, move |event_loop, socket, _address| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        // A callback sends all before it reads more, so this holds no more than one read.
        tls.set_buffer_limit(None);
        let mut session = Session { tls, is_closing: false };
        event_loop.register(socket, Interest::READABLE, move |_loop, socket, _event| {
            session.on_event(socket)
        })?;
        Ok(())
    })?;
    // An error ends its connection, and no other.
    event_loop.on_error(|_loop, _key, error| log::info!("{error:?}"));
    event_loop.run()?;
    Ok(())
}
