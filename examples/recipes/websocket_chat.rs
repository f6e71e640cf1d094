//! A chat by WebSocket: what one client says, all others are sent. async-tungstenite does the protocol, pings and the
//! closing handshake included.
//!
//! Each client has a queue of its own, of 100 messages. A client whose queue is full is dropped: it reads too slowly,
//! and the others do not wait for it.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin websocket_chat -- localhost:8765
//! node --experimental-websocket -e 'new WebSocket("ws://localhost:8765").onmessage = (e) => console.log(e.data)'
//! ```

mod failure;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Sender;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{self, Message};
use async_tungstenite::{WebSocketReceiver, accept_async_with_config};
use futures_lite::future;
use futures_util::TryStreamExt;
use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};

/// How many messages may wait for a client.
const QUEUE: usize = 100;
/// The longest message, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clients. The room belongs to one thread, so it needs no lock.
#[derive(Default)]
struct Room {
    clients: RefCell<BTreeMap<u64, Sender<Message>>>,
    next: RefCell<u64>,
}

impl Room {
    fn say(&self, speaker: u64, message: &Message) {
        // A message is bytes that are counted, not copied. A closed queue ends its client's task.
        self.clients.borrow().iter().filter(|&(&id, _)| id != speaker).for_each(|(id, queue)| {
            if queue.try_send(message.clone()).is_err() && queue.close() {
                log::warn!("client {id} reads too slowly and is dropped");
            }
        });
    }
}

/// A client's place in the room, which it leaves however its task ends.
struct Place {
    room: Rc<Room>,
    id: u64,
}

impl Place {
    fn take(room: Rc<Room>, queue: Sender<Message>) -> Self {
        let id = *room.next.borrow();
        *room.next.borrow_mut() += 1;
        room.clients.borrow_mut().insert(id, queue);
        Self { room, id }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.clients.borrow_mut().remove(&self.id);
    }
}

/// Passes on what a client says, until it closes the connection.
async fn listen(
    mut from_client: WebSocketReceiver<Async<TcpStream>>,
    place: &Place,
) -> Result<(), tungstenite::Error> {
    while let Some(message) = from_client.try_next().await? {
        // Pings are answered already.
        if message.is_text() || message.is_binary() {
            place.room.say(place.id, &message);
        }
    }
    Ok(())
}

async fn serve(stream: Async<TcpStream>, room: Rc<Room>) -> io::Result<()> {
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST));
    let handshake = accept_async_with_config(stream, Some(config));
    let socket = asyncio::timeout(PATIENCE, handshake).await?.map_err(io::Error::other)?;
    let (mut to_client, from_client) = socket.split();
    let (sender, queue) = async_channel::bounded(QUEUE);
    let place = Place::take(room, sender);
    let speak = async {
        while let Ok(message) = queue.recv().await {
            to_client.send(message).await?;
        }
        Ok(())
    };
    // The first that ends drops the other, and with both the connection.
    future::or(listen(from_client, &place), speak).await.map_err(io::Error::other)
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let address = env::args().nth(1).ok_or("usage: websocket_chat HOST:PORT")?;
    let (host, port) = address.rsplit_once(':').ok_or("usage: websocket_chat HOST:PORT")?;
    let room = Rc::new(Room::default());
    EventLoop::new(())?.block_on(async {
        let handle = move |stream| serve(stream, Rc::clone(&room));
        let server = asyncio::start_server_host(host, port.parse()?, handle).await?;
        for address in server.local_addrs() {
            println!("listening on {address}");
        }
        server.serve_forever().await?;
        Ok(())
    })?
}
