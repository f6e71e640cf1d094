//! The steps of a program, each decoded from three bytes.

use std::time::Duration;

use polyselect::Interest;

use super::lab::long;
use super::outside::{Blocking, Course, Name};

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;

/// The answer of a source's callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Remove,
    Modify(Interest),
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Unix socket, where the system has them.
    Local,
    Tcp,
    Listener,
}

/// The work of a task.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Yield(usize),
    Sleep(Duration),
    /// Reads from a pipe to its end, with a buffer of this size.
    Read(usize, usize),
    /// Waits once until a pipe is readable.
    Readable(usize),
    /// The same for at most this time.
    Timeout(usize, Duration),
    Write(usize, usize),
    Join(usize),
    Panic,
    /// Polls waits a few times, with a waker of its own, and drops them.
    Abandon(usize),
    /// Waits for a pipe with a waker that panics.
    PanickingWaker(usize),
    /// Spawns another task of the same kind when it is dropped.
    Heir,
    /// Moves a source through two loops.
    MoveSource(bool),
    /// The same for a sleep and a timeout.
    MoveSleep(bool),
    /// A reader and a writer of a stream: its bytes, and the size of the pieces.
    Stream(usize, usize),
    Serve,
    /// Stops a server with this patience.
    Stop(usize, Duration),
    CloseServer(usize),
    Thread(Blocking),
    Process(Course),
    LookUp(Name),
}

/// The course of a connection of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Echo,
    /// The handler panics before it returns its future.
    PanicEarly,
    /// The future panics when it has read something.
    PanicLate,
    Fail,
    /// The writer owes more than the client takes.
    Owe,
    /// Waits for an event that never happens.
    Hold,
}

/// A step: of the program between two iterations, or of user code when the loop runs it.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Ends the block of steps that the program or a callback performs.
    End,
    /// Ends it with a panic.
    Panic,
    Answer(Answer),
    Register(Kind, Interest),
    Modify(usize, Interest),
    Unregister(usize),
    Take(usize),
    Send(usize, usize),
    HangUp(usize),
    CallSoon,
    CallLocal,
    CallRemote,
    CallLater(Duration),
    CallEvery(Duration),
    CancelTimer(usize),
    OnSignal(usize),
    RemoveSignal(usize),
    Raise(usize),
    WatchChild,
    TakeChild(usize),
    Spawn(Work),
    CancelTask(usize),
    DropHandle(usize),
    Detach(usize),
    NewPipe(Kind),
    SendInto(usize, usize),
    SendUrgent(usize),
    HangUpPipe(usize),
    DropPipe(usize),
    /// Polls a pipe outside of any task, also in a destructor.
    PollPipe(usize),
    Connect(usize, Fate),
    ClientSend(usize, usize),
    CloseClient(usize),
    DropServer(usize),
    ReplaceLoop,
    BlockOn(usize),
    Stop,
    RebuildWith(usize),
    /// The loop is dropped at the end with all registrations.
    DropAtEnd,
}

fn delay(choice: u8) -> Duration {
    const DELAYS: [u64; 6] = [0, 0, 1, 100, 500, 2_000];
    long(DELAYS[usize::from(choice) % DELAYS.len()])
}

fn interest(choice: u8) -> Interest {
    [R, R, R, Interest::empty(), R.union(W), W][usize::from(choice) % 6]
}

fn kind(choice: u8) -> Kind {
    [Kind::Local, Kind::Tcp, Kind::Listener][usize::from(choice) % 3]
}

/// A number of bytes: a few, or a bit more.
fn amount(choice: u8) -> usize {
    let choice = usize::from(choice);
    if choice < 200 { 1 + choice % 40 } else { (choice - 199) * 100 }
}

fn work(a: u8, b: u8) -> Work {
    let (x, y) = (usize::from(a / 32), usize::from(b));
    match a % 32 {
        0 => Work::Yield(y % 4),
        1 => Work::Sleep(delay(b)),
        2..=5 => Work::Read(x, 1 + y % 90),
        6 | 7 => Work::Readable(x),
        8 => Work::Timeout(x, delay(b)),
        9 | 10 => Work::Write(x, amount(b)),
        11..=13 => Work::Join(y),
        14 => Work::Panic,
        15 | 16 => Work::Abandon(x),
        17 => Work::PanickingWaker(x),
        18 => Work::Heir,
        19 | 20 => Work::MoveSource(b.is_multiple_of(2)),
        21 => Work::MoveSleep(b.is_multiple_of(2)),
        22..=25 => Work::Stream(1 << (y % 18), 1 + 300 * x),
        26 | 27 => Work::Serve,
        28 | 29 => Work::Stop(x, delay(b)),
        30 => Work::CloseServer(x),
        _ => work_outside(b),
    }
}

fn work_outside(choice: u8) -> Work {
    let x = choice / 16;
    match choice % 16 {
        0 | 1 => Work::Thread(Blocking::Return(usize::from(x))),
        2 => Work::Thread(Blocking::Panic),
        3 | 4 => Work::Thread(Blocking::Abandon),
        5 => Work::Process(Course::Exit(x)),
        6 => Work::Process(Course::Copy(30_000 * usize::from(x))),
        7 => Work::Process(Course::Kill),
        8 => Work::Process(Course::KillOnDrop),
        9 => Work::Process(Course::Leave),
        10 => Work::LookUp(Name::Address),
        11 => Work::LookUp(Name::Localhost),
        12 => Work::LookUp(Name::Invalid),
        _ => Work::Yield(1),
    }
}

fn fate(choice: u8) -> Fate {
    match choice % 16 {
        0..=5 => Fate::Echo,
        6 | 7 => Fate::PanicEarly,
        8 | 9 => Fate::PanicLate,
        10 => Fate::Fail,
        11 | 12 => Fate::Owe,
        _ => Fate::Hold,
    }
}

/// The bytes of a step that starts a child.
pub const WATCH_CHILD: [u8; 3] = [150, 0, 0];

impl Step {
    /// The first byte chooses the kind, and zero does the least.
    pub fn new([what, a, b]: [u8; 3]) -> Self {
        let x = usize::from(a);
        match what {
            0..=59 => Self::End,
            60..=64 => Self::Panic,
            65..=67 => Self::Answer(Answer::Remove),
            68..=70 => Self::Answer(Answer::Modify(interest(a))),
            71 | 72 => Self::Answer(Answer::Fail),
            73..=84 => Self::Register(kind(a), interest(b)),
            85..=92 => Self::Modify(x, interest(b)),
            93..=96 => Self::Unregister(x),
            97 => Self::Take(x),
            98..=113 => Self::Send(x, amount(b)),
            114 | 115 => Self::HangUp(x),
            116..=121 => Self::CallSoon,
            122..=126 => Self::CallLocal,
            127 | 128 => Self::CallRemote,
            129..=136 => Self::CallLater(delay(a)),
            137..=139 => Self::CallEvery(delay(a)),
            140..=143 => Self::CancelTimer(x),
            144 | 145 => Self::OnSignal(x),
            146 => Self::RemoveSignal(x),
            147..=149 => Self::Raise(x),
            150 => {
                if b < 100 {
                    Self::WatchChild
                } else {
                    Self::End
                }
            }
            151 => Self::TakeChild(x),
            152..=186 => Self::Spawn(work(a, b)),
            187..=189 => Self::CancelTask(x),
            190 | 191 => Self::DropHandle(x),
            192..=194 => Self::Detach(x),
            195..=202 => Self::NewPipe(kind(a)),
            203..=215 => Self::SendInto(x, amount(b)),
            216..=219 => Self::SendUrgent(x),
            220 => Self::HangUpPipe(x),
            221 => Self::DropPipe(x),
            222 | 223 => Self::PollPipe(x),
            224..=231 => Self::Connect(x, fate(b)),
            232..=238 => Self::ClientSend(x, amount(b)),
            239 => Self::CloseClient(x),
            240 => Self::DropServer(x),
            241..=243 => Self::ReplaceLoop,
            244..=247 => Self::BlockOn(x % 4),
            248 => Self::Stop,
            249 => Self::RebuildWith(x),
            250 | 251 => Self::DropAtEnd,
            _ => Self::Spawn(Work::Heir),
        }
    }
}
