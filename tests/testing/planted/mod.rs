//! Programs with one mistake each: an ordinary test passes, a lab finds the mistake, and the
//! correct version survives.
//!
//! Each program has the mistake and its correction side by side, chosen by [`Trial::is_right`].

mod cancellation;
mod closing;
mod oneshots;
mod order;
mod removal;
mod sharing;
mod starting;
mod timers;
mod transfers;
mod wakeups;

use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polyselect::Source;
use polyselect::testing::{Disorder, Failure, Faults, Flaky, Lab, explore, first_failure};

const MS: Duration = Duration::from_millis(1);

/// Part of the panic of a program that waits for an event that cannot come.
const STUCK: &str = "nothing is left that could come";

/// One run of a program.
struct Trial<'a> {
    lab: &'a Lab,
    /// Whether the program runs without its mistake.
    is_right: bool,
    faults: Faults,
}

impl Trial<'_> {
    fn flaky<S: Source>(&self, source: S) -> Flaky<S> {
        self.lab.flaky(source, self.faults)
    }

    /// A connection: the program's end, and its peer's, which has no faults. Both are non-blocking.
    fn pair(&self) -> (Flaky<UnixStream>, UnixStream) {
        let (left, right) = UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        right.set_nonblocking(true).unwrap();
        (self.flaky(left), right)
    }
}

/// The number of bytes that an operation moved, or `None` for `WouldBlock`.
fn moved(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            result => return result.map(Some),
        }
    }
}

fn read_some(mut source: &Flaky<UnixStream>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    moved(|| source.read(buffer))
}

fn write_some(mut source: &Flaky<UnixStream>, bytes: &[u8]) -> io::Result<Option<usize>> {
    moved(|| source.write(bytes))
}

/// A program with a mistake.
struct Mistake {
    name: &'static str,
    program: fn(&Trial<'_>),
    /// A part of the message with which the mistake is found.
    message: &'static str,
}

impl Mistake {
    fn failure(&self, seeds: Range<u64>, disorder: Disorder, faults: Faults) -> Option<Failure> {
        first_failure(seeds, disorder, |lab| {
            (self.program)(&Trial { lab, is_right: false, faults });
        })
    }

    fn passes_in_an_ordinary_test(&self) {
        let failure = self.failure(0..20, Disorder::none(), Faults::none());
        assert!(failure.is_none(), "{}", failure.unwrap());
    }

    fn is_found_within_a_thousand_seeds(&self) {
        for start in [0, 1_000, 2_000] {
            let failure = self.failure(start..start + 1_000, Disorder::network(), Faults::mild());
            let failure = failure.unwrap_or_else(|| panic!("not found from seed {start} on"));
            assert!(failure.message.contains(self.message), "{failure}");
            assert!(failure.enough.len() <= 16, "{failure}\n{}", failure.log);
        }
    }

    fn is_not_found_in_the_right_version(&self) {
        explore(0..200, Disorder::network(), |lab| {
            (self.program)(&Trial { lab, is_right: true, faults: Faults::mild() });
        });
    }

    /// Searches 11 ranges of 1,000 seeds; returns the number of seeds needed and of decisions left, or that the mistake
    /// was not found.
    fn search(&self, disorder: Disorder) -> [String; 2] {
        let failures = (0..11).map(|range| {
            let start = range * 1_000;
            let failure = self.failure(start..start + 1_000, disorder, Faults::mild())?;
            Some((failure.seed - start + 1, failure.enough.len() as u64))
        });
        let (seeds, decisions): (Vec<_>, Vec<_>) =
            failures.map(|found| found.unwrap_or((u64::MAX, u64::MAX))).unzip();
        [seeds, decisions].map(|mut numbers| {
            numbers.sort_unstable();
            let show = |number| match number {
                u64::MAX => "not found".to_owned(),
                number => number.to_string(),
            };
            format!("{} / {}", show(numbers[numbers.len() / 2]), show(numbers[numbers.len() - 1]))
        })
    }
}

/// Makes three tests for each mistake, and a list of all.
macro_rules! mistakes {
    ($($file:ident::$name:ident: $message:expr;)*) => {
        const ALL: &[Mistake] = &[$(Mistake {
            name: stringify!($name),
            program: $file::$name,
            message: $message,
        }),*];

        $(mod $name {
            use super::named;

            #[test]
            fn passes_in_an_ordinary_test() {
                named(stringify!($name)).passes_in_an_ordinary_test();
            }

            #[test]
            fn is_found_within_a_thousand_seeds() {
                named(stringify!($name)).is_found_within_a_thousand_seeds();
            }

            #[test]
            fn is_not_found_in_the_right_version() {
                named(stringify!($name)).is_not_found_in_the_right_version();
            }
        })*
    };
}

mistakes! {
    wakeups::waits_without_looking_again: STUCK;
    wakeups::retries_at_once: "gave up";
    oneshots::leaves_a_oneshot_disarmed: STUCK;
    oneshots::takes_a_wake_for_the_timeout: "timed out";
    transfers::ignores_how_much_was_written: STUCK;
    transfers::reads_once_for_an_edge: STUCK;
    transfers::takes_a_read_for_a_record: "not one record";
    closing::stops_before_the_data_is_read: "of 10 records";
    closing::takes_a_closed_peer_for_the_end_of_data: "of 20 bytes";
    removal::indexes_by_the_key_of_a_closed_connection: "names no registration";
    removal::removes_both_ends_twice: "removed twice";
    timers::cancels_a_timer_in_a_call: "timed out after the answer";
    timers::closes_with_a_request_in_hand: "with a request in hand";
    order::expects_the_configuration_first: "configured";
    order::serves_the_first_client_first: "passed over";
    sharing::borrows_across_an_await: "already";
    sharing::writes_records_in_two_pieces: "mixed up";
    cancellation::loses_bytes_of_a_cancelled_read: "record";
    starting::expects_a_connection_after_readable: "Err";
}

fn named(name: &str) -> &'static Mistake {
    ALL.iter().find(|mistake| mistake.name == name).expect("a mistake of this name")
}

/// `cargo test --release --all-features --test testing -- --ignored --nocapture number_of_seeds`.
#[test]
#[ignore = "prints a table"]
fn number_of_seeds_that_each_mistake_needs() {
    println!("| mistake | faults alone | promised | network | decisions |\n|---|---|---|---|---|");
    for mistake in ALL {
        let levels = [Disorder::none(), Disorder::promised(), Disorder::network()];
        let [[alone, _], [promised, _], [network, decisions]] =
            levels.map(|level| mistake.search(level));
        let name = mistake.name.replace('_', " ");
        println!("| {name} | {alone} | {promised} | {network} | {decisions} |");
    }
}
