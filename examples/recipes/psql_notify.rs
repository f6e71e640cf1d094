//! Waits for notifications of a PostgreSQL server: tokio-postgres on the event loop, without tokio's runtime.
//!
//! tokio-postgres speaks by whatever has tokio's I/O traits, and needs a runtime only to open a socket, which is done
//! here. `Async` has the traits of `futures-io`, and `compat` of tokio-util makes the ones of the others. The connection
//! is a task, and its client sends requests to it from other tasks.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin psql_notify -- /var/run/postgresql/.s.PGSQL.5432 postgres news
//! psql -U postgres -c "NOTIFY news, 'hello'"
//! ```

mod failure;

use std::env;
use std::error::Error;
use std::future::poll_fn;

use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};
use tokio_postgres::{AsyncMessage, Config, NoTls};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// Prints the notifications of the channel until one says `quit`.
async fn listen(socket: &str, user: &str, channel: &str) -> Result<(), Box<dyn Error>> {
    let stream = Async::connect_path(socket).await?;
    let config = Config::new().user(user).dbname("postgres").clone();
    let (client, mut connection) = config.connect_raw(stream.compat(), NoTls).await?;
    // The connection does all the reading and writing, so it runs in a task of its own.
    let (sender, notifications) = async_channel::bounded(100);
    let connection = asyncio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message? {
                // A full queue holds up the connection, and by that the server.
                AsyncMessage::Notification(notification) => {
                    let Ok(()) = sender.send(notification).await else { break };
                }
                AsyncMessage::Notice(notice) => log::warn!("{notice}"),
                _ => {}
            }
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    let row = client.query_one("SELECT current_setting('server_version')", &[]).await?;
    println!("connected to PostgreSQL {}", row.get::<_, &str>(0));
    // A channel is a name like that of a table.
    let quoted = channel.replace('"', "\"\"");
    client.batch_execute(&format!("LISTEN \"{quoted}\"")).await?;
    println!("listening on {channel}");
    while let Ok(notification) = notifications.recv().await {
        println!("{}: {}", notification.process_id(), notification.payload());
        if notification.payload() == "quit" {
            break;
        }
    }
    // Without a client the connection says goodbye to the server and ends.
    drop((client, notifications));
    Ok(connection.await??)
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [socket, user, channel] = &arguments[..] else {
        return Err("usage: psql_notify SOCKET USER CHANNEL".into());
    };
    Ok(EventLoop::new(())?.block_on(listen(socket, user, channel))??)
}
