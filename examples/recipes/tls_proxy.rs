//! A proxy that takes TLS off: rustls in coroutines, by futures-rustls. In front of a server that knows only TCP.
//!
//! `Async` has the traits of `futures-io`, so a TLS stream around it is a stream like any other. Each direction of a
//! connection ends for itself, as with TCP.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin tls_proxy -- localhost:4433 cert.pem key.pem localhost:8080
//! curl --cacert cert.pem https://localhost:4433/
//! ```

mod failure;

use std::env;
use std::error::Error;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use futures_util::future::try_join;
use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long a handshake may take, and reaching the server behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the server behind is.
struct Target {
    host: String,
    port: u16,
}

/// Copies until the end, and passes the end on.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut bytes = vec![0; 16384];
    loop {
        match from.read(&mut bytes).await? {
            0 => return to.close().await,
            count => to.write_all(&bytes[..count]).await?,
        }
        // A TLS stream keeps what its socket does not take, and has no task that would send it later.
        to.flush().await?;
    }
}

async fn serve(
    stream: Async<TcpStream>,
    acceptor: TlsAcceptor,
    target: Rc<Target>,
) -> io::Result<()> {
    // Small pieces go on at once: both ends know better than a proxy when to wait for more.
    stream.get_ref().set_nodelay(true)?;
    let client = asyncio::timeout(PATIENCE, acceptor.accept(stream)).await??;
    let server = Async::connect_host(&target.host, target.port);
    let server = asyncio::timeout(PATIENCE, server).await??;
    server.get_ref().set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    // Another handle of the same socket serves for the other direction.
    let to_server = server.clone();
    let both = try_join(forward(from_client, to_server), forward(server, to_client));
    both.await.map(drop)
}

fn configure(certificates: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let certificates = CertificateDer::pem_file_iter(certificates)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn host_and_port(text: &str) -> Result<(&str, u16), Box<dyn Error>> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{text} is not HOST:PORT"))?;
    Ok((host, port.parse()?))
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [address, certificates, key, target] = &arguments[..] else {
        return Err("usage: tls_proxy HOST:PORT CERTIFICATES.pem KEY.pem TARGET:PORT".into());
    };
    let acceptor = configure(certificates, key)?;
    let (host, port) = host_and_port(target)?;
    let target = Rc::new(Target { host: host.into(), port });
    let (host, port) = host_and_port(address)?;
    EventLoop::new(())?.block_on(async {
        let handle = move |stream| serve(stream, acceptor.clone(), Rc::clone(&target));
        let server = asyncio::start_server_host(host, port, handle).await?;
        for address in server.local_addrs() {
            println!("listening on {address}");
        }
        server.serve_forever().await
    })??;
    Ok(())
}
