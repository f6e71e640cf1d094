//! Programs for a selector, run on every backend of this system: the events of each wait must agree
//! with a plain model of the descriptors, and with `poll`.

use polyselect::{Backend, Interest, Selector};

use super::bytes::Bytes;
use super::sources::model::faults::Setting;
use super::sources::model::program::{Mode, PLACES, Step, run};
use super::sources::model::subject::Kind;

/// A longer program would make each run too slow.
const LONGEST: usize = 300;

pub fn check(data: &[u8]) {
    let program = decode(data);
    for backend in Backend::available() {
        let selector = Selector::with_backend(backend).expect("opens");
        if let Err(wrong) = run(Setting::default(), &program, selector) {
            panic!("on {backend}, {wrong}");
        }
    }
}

fn decode(data: &[u8]) -> Vec<Step> {
    let mut bytes = Bytes::new(data);
    let mut program = Vec::new();
    while !bytes.is_empty() && program.len() < LONGEST {
        program.push(step(&mut bytes));
    }
    program
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    const R: Interest = Interest::READABLE;
    const W: Interest = Interest::WRITABLE;
    const P: Interest = Interest::PRIORITY;
    const INTERESTS: &[Interest] =
        &[R, W, R.union(W), Interest::empty(), P, R.union(P), W.union(P), Interest::all()];
    const MODES: &[Mode] = &[Mode::Level, Mode::Oneshot, Mode::Edge, Mode::EdgeOneshot];
    const KINDS: &[Kind] = &[
        Kind::Stream,
        Kind::PipeReader,
        Kind::PipeWriter,
        Kind::Counter,
        Kind::Listener,
        Kind::File,
    ];

    // The result of an empty wait is soon covered, so the first choices are steps with an effect.
    match bytes.below(24) {
        0..4 => Step::Register(bytes.below(PLACES), bytes.one_of(INTERESTS), bytes.one_of(MODES)),
        4..6 => Step::Modify(bytes.below(PLACES), bytes.one_of(INTERESTS)),
        6 => Step::Unregister(bytes.below(PLACES)),
        7..10 => Step::Send(bytes.below(PLACES), 1 + bytes.below(40)),
        10..12 => Step::Receive(bytes.below(PLACES), 1 + bytes.below(80)),
        12 => Step::Fill(bytes.below(PLACES)),
        13 => Step::Drain(bytes.below(PLACES)),
        14 => Step::ShutDown(bytes.below(PLACES)),
        15 => Step::ClosePeer(bytes.below(PLACES)),
        16 => Step::Replace(bytes.below(PLACES), bytes.one_of(KINDS)),
        17 => Step::SendAll,
        18 => Step::Wake,
        19 => match bytes.below(8) {
            0 => Step::Rebuild,
            index => Step::RebuildWith(index),
        },
        20 => Step::Select(1 + bytes.below(8)),
        _ => Step::Select(64),
    }
}
