//! Downloads by libcurl's multi interface on the event loop, through the crate `curl`.
//!
//! libcurl owns its sockets, opens and closes them, and says by two callbacks what to watch and when to call it next.
//! Three rules make that safe:
//!
//! 1. A descriptor that a C library owns may be closed at any time after its callback returns. The loop watches a
//!    duplicate, made inside the callback, and the number is libcurl's name for the socket and nothing else.
//! 2. The callbacks have no loop at hand, and run inside calls that hold it: they queue what they want with a `Local`.
//! 3. They must be `Send`, which a `Local` is not: it is in a thread-local variable. All of it is on one thread.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin curl_multi -- /tmp http://localhost:8000/a http://localhost:8000/b
//! ```

#![allow(unsafe_code)] // A number that libcurl passes is a descriptor.

mod failure;
use std::path::{Path, PathBuf};
use std::{cell::RefCell, collections::BTreeMap, env, fs::File, os::fd::BorrowedFd};
use std::{io, io::Write, time::Duration};

use curl::easy::{Easy2, Handler, WriteError};
use curl::multi::{Easy2Handle, Events, Multi, Socket, SocketEvents};
use polyselect::{Event, EventLoop, Interest, Key, Local, Next, TimerKey};

/// A file that is being filled.
struct Target(File);

impl Handler for Target {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        // Fewer bytes than there are make libcurl end the transfer with an error.
        Ok(self.0.write_all(data).map_or(0, |()| data.len()))
    }
}

struct Downloads {
    multi: Multi,
    transfers: BTreeMap<usize, (String, Easy2Handle<Target>)>,
    sources: BTreeMap<Socket, Key>,
    timer: Option<TimerKey>,
    failures: usize,
}

thread_local! {
    static LOOP: RefCell<Option<Local<Downloads>>> = const { RefCell::new(None) };
}

/// Queues a call; without a loop there is nothing to be done.
fn call(call: impl FnOnce(&mut EventLoop<Downloads>) + 'static) {
    LOOP.with_borrow(|local| local.as_ref().and_then(|local| local.call(call).ok()));
}

#[allow(clippy::needless_pass_by_value)] // As the crate calls it.
fn on_socket(socket: Socket, events: SocketEvents, _token: usize) {
    let wants = |yes, interest| if yes { interest } else { Interest::empty() };
    let interest =
        wants(events.input(), Interest::READABLE) | wants(events.output(), Interest::WRITABLE);
    if events.remove() {
        return call(move |event_loop| unwatch(event_loop, socket));
    }
    // SAFETY: libcurl keeps the socket open during the callback.
    let duplicate = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned();
    call(move |event_loop| {
        unwatch(event_loop, socket);
        let act = move |event_loop: &mut EventLoop<_>, _: &_, event: Event| {
            let mut ready = Events::new();
            ready.input(event.is_readable()).output(event.is_writable());
            act(event_loop, |multi| multi.action(socket, &ready)).map(|()| Next::Keep)
        };
        let register = |source| Ok(event_loop.register(source, interest, act)?);
        // Without it, the transfer ends by its time limit.
        match duplicate.and_then(register) {
            Ok(key) => drop(event_loop.state.sources.insert(socket, key)),
            Err(error) => log::error!("a socket of libcurl is not watched: {error}"),
        }
    });
}

fn unwatch(event_loop: &mut EventLoop<Downloads>, socket: Socket) {
    if let Some(key) = event_loop.state.sources.remove(&socket) {
        // An error in its callback has ended it already.
        let _ = event_loop.unregister(key);
    }
}

fn on_timer(after: Option<Duration>) -> bool {
    call(move |event_loop| {
        // It may have run.
        event_loop.state.timer.take().map(|timer| event_loop.cancel(timer).ok());
        let elapse = |event_loop: &mut EventLoop<_>| {
            act(event_loop, Multi::timeout).unwrap_or_else(|error| log::error!("libcurl: {error}"));
        };
        event_loop.state.timer = after.map(|after| event_loop.call_later(after, elapse));
    });
    true
}

/// Lets libcurl work, and looks which transfers have ended.
fn act(
    event_loop: &mut EventLoop<Downloads>,
    work: impl FnOnce(&Multi) -> Result<u32, curl::MultiError>,
) -> io::Result<()> {
    let Downloads { multi, transfers, failures, .. } = &mut event_loop.state;
    work(multi).map_err(io::Error::other)?;
    let mut ended = Vec::new();
    multi.messages(|message| ended.extend(message.token().ok().zip(message.result())));
    for (token, result) in ended {
        let Some((url, transfer)) = transfers.remove(&token) else { continue };
        multi.remove2(transfer).map_err(io::Error::other)?;
        *failures += usize::from(result.is_err());
        let end = result.map_or_else(|error| error.to_string(), |()| "complete".into());
        println!("{url}: {end}");
    }
    Ok(())
}

fn add(downloads: &mut Downloads, folder: &Path, url: &str) -> Result<(), failure::Failure> {
    let name = url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index");
    let mut transfer = Easy2::new(Target(File::create(folder.join(name))?));
    transfer.url(url)?;
    transfer.fail_on_error(true)?;
    transfer.timeout(Duration::from_secs(300))?;
    let mut handle = downloads.multi.add2(transfer)?;
    let token = downloads.transfers.len();
    handle.set_token(token)?;
    downloads.transfers.insert(token, (url.into(), handle));
    Ok(())
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: curl_multi FOLDER URL…")?);
    let mut multi = Multi::new();
    multi.socket_function(on_socket)?;
    multi.timer_function(on_timer)?;
    let (transfers, sources, timer, failures) = Default::default();
    let downloads = Downloads { multi, transfers, sources, timer, failures };
    let mut event_loop = EventLoop::new(downloads)?;
    LOOP.set(Some(event_loop.local()));
    for url in arguments {
        add(&mut event_loop.state, &folder, &url)?;
    }
    event_loop.run()?;
    match event_loop.state.failures {
        0 => Ok(()),
        failures => Err(format!("{failures} downloads failed").into()),
    }
}
