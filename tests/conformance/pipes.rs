//! Pipes and files where kernels differ most: closed peers, and ends of files.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Seek, SeekFrom, Write, pipe};
use std::os::fd::OwnedFd;

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
use polyselect::Events;
use polyselect::{Backend, Interest, Ready, Selector};

use crate::support::*;

cases! {
    a_pipe_without_a_reader_can_be_registered_and_is_writable,
    a_pipe_whose_reader_goes_becomes_writable,
    a_full_pipe_whose_reader_goes_becomes_writable,
    a_full_pipe_whose_reader_goes_is_an_edge needs edge,
    a_full_pipe_whose_reader_goes_fires_a_one_shot_once needs oneshot,
    a_full_pipe_whose_reader_goes_shows_in_an_outer_loop needs nesting,
    a_pipe_without_a_writer_satisfies_every_interest,
    data_in_a_pipe_do_not_make_it_writable,
    a_named_pipe_reports_its_last_writer,
    a_file_is_readable_at_its_end,
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    a_terminal_takes_an_edge needs edge,
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    a_terminal_without_input_does_not_wake_an_outer_loop needs nesting,
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    terminals_do_not_starve_sockets_in_a_small_batch,
}

fn nonblocking() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    (reader, writer)
}

/// Registers without interest in reading; on `select` with it, which does not see every hang-up
/// otherwise.
fn write_interest(backend: Backend) -> Interest {
    if backend == Backend::Select { R | W } else { W }
}

fn a_pipe_without_a_reader_can_be_registered_and_is_writable(backend: Backend) {
    for interest in [write_interest(backend), R | W] {
        let (_, writer) = nonblocking();
        let mut selector = open(backend);
        let key = selector.register(writer, interest, ()).unwrap();
        for _ in 0..3 {
            assert!(expect_one(&mut selector, key).contains(Ready::from(interest)));
        }
        selector.modify(key, NOTHING).unwrap();
        expect_silence(&mut selector);
        selector.modify(key, interest).unwrap();
        assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
        drop(selector.unregister(key).unwrap());
        expect_silence(&mut selector);
    }
}

fn a_pipe_whose_reader_goes_becomes_writable(backend: Backend) {
    let (reader, writer) = nonblocking();
    let mut selector = open(backend);
    let key = selector.register(writer, W, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    drop(reader);
    for _ in 0..3 {
        assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
    }
}

/// A registered full pipe, and its reading end.
fn full(
    selector: &mut Selector<PipeWriter>,
    watch: impl Into<polyselect::Watch>,
) -> (polyselect::Key, PipeReader) {
    let (reader, writer) = nonblocking();
    fill(&writer);
    let key = selector.register(writer, watch, ()).unwrap();
    expect_silence(selector);
    (key, reader)
}

fn a_full_pipe_whose_reader_goes_becomes_writable(backend: Backend) {
    for interest in [write_interest(backend), R | W] {
        let mut selector = open(backend);
        let (key, reader) = full(&mut selector, interest);
        drop(reader);
        for _ in 0..3 {
            assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
        }
        selector.modify(key, NOTHING).unwrap();
        expect_silence(&mut selector);
    }
}

fn a_full_pipe_whose_reader_goes_is_an_edge(backend: Backend) {
    let mut selector = open(backend);
    let (key, reader) = full(&mut selector, W.edge());
    drop(reader);
    assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
    for _ in 0..10 {
        if select(&mut selector, A_WHILE).is_empty() {
            selector.modify(key, W).unwrap();
            assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
            return;
        }
    }
    panic!("edges without end");
}

fn a_full_pipe_whose_reader_goes_fires_a_one_shot_once(backend: Backend) {
    let mut selector = open(backend);
    let interest = write_interest(backend);
    let (key, reader) = full(&mut selector, interest.oneshot());
    drop(reader);
    for _ in 0..2 {
        assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
        expect_silence(&mut selector);
        selector.modify(key, interest).unwrap();
    }
}

fn a_full_pipe_whose_reader_goes_shows_in_an_outer_loop(backend: Backend) {
    let mut inner = open(backend);
    let (key, reader) = full(&mut inner, W);
    let mut outer = open(Backend::Poll);
    let outer_key = outer.register(inner.descriptor().unwrap(), R, ()).unwrap();
    expect_silence(&mut outer);
    drop(reader);
    for _ in 0..3 {
        assert_eq!(expect_one(&mut outer, outer_key), Ready::READABLE);
        assert!(expect_one(&mut inner, key).contains(Ready::WRITABLE));
    }
}

fn a_pipe_without_a_writer_satisfies_every_interest(backend: Backend) {
    for interest in [R, R | W, write_interest(backend)] {
        let (reader, _) = nonblocking();
        let mut selector = open(backend);
        let key = selector.register(reader, interest, ()).unwrap();
        let ready = expect_one(&mut selector, key);
        let told = if backend == Backend::Select { R } else { interest };
        assert!(ready.contains(Ready::from(told)), "{ready:?} for {interest:?}");
    }
}

fn data_in_a_pipe_do_not_make_it_writable(backend: Backend) {
    let (reader, mut writer) = nonblocking();
    let mut selector = open(backend);
    let key = selector.register(reader, W, ()).unwrap();
    writer.write_all(b"data").unwrap();
    let (time, waited) = processor_time(|| expect_silence(&mut selector));
    assert!(time < waited, "{time:?} of {waited:?}");
    selector.modify(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

fn a_named_pipe_reports_its_last_writer(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reader = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
    let mut writer = File::options().write(true).open(&path).unwrap();
    let mut selector: Selector<OwnedFd> = open(backend);
    let key = selector.register(reader, R, ()).unwrap();
    expect_silence(&mut selector);
    writer.write_all(b"!").unwrap();
    assert!(expect_one(&mut selector, key).contains(Ready::READABLE));
    rustix::io::read(selector[key].source(), &mut [0; 8]).unwrap();
    expect_silence(&mut selector);
    drop(writer);
    assert!(expect_one(&mut selector, key).contains(Ready::READABLE));
}

fn a_file_is_readable_at_its_end(backend: Backend) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"text").unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    let mut selector = open(backend);
    let key = selector.register(file, R, ()).unwrap();
    for _ in 0..3 {
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
/// A controller, and its terminal with a line to read.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    // Otherwise it would become the session's controlling terminal.
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    rustix::io::write(&controller, b"line\n").unwrap();
    (controller, terminal)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
/// macOS has no filter for it, so it is watched level-triggered there.
fn a_terminal_takes_an_edge(backend: Backend) {
    let (_controller, terminal) = terminal();
    let mut selector = open(backend);
    let key = selector.register(terminal, R.edge(), ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    selector.modify(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    rustix::io::read(selector[key].source(), &mut [0; 8]).unwrap();
    expect_silence(&mut selector);
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
/// On macOS the kqueue does not contain it.
fn a_terminal_without_input_does_not_wake_an_outer_loop(backend: Backend) {
    let (_controller, terminal) = terminal();
    rustix::io::read(&terminal, &mut [0; 8]).unwrap();
    let (mut inner, mut outer) = (open(backend), open(backend));
    let key = inner.register(terminal, R, ()).unwrap();
    outer.register(inner.descriptor().unwrap(), R, ()).unwrap();
    for _ in 0..2 {
        assert!(select(&mut outer, A_WHILE).is_empty());
        expect_silence(&mut inner);
    }
    inner.modify(key, R | W).unwrap();
    assert_eq!(expect_one(&mut inner, key), Ready::WRITABLE);
    inner.modify(key, R).unwrap();
    expect_silence(&mut inner);
    assert!(select(&mut outer, A_WHILE).is_empty());
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn terminals_do_not_starve_sockets_in_a_small_batch(backend: Backend) {
    let mut selector: Selector<OwnedFd> = open(backend);
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (controller, terminal) = terminal();
        selector.register(terminal, R, ()).unwrap();
        ends.push(controller);
    }
    for _ in 0..3 {
        let (left, right) = pair();
        selector.register(left.into(), W, ()).unwrap();
        ends.push(right.into());
    }
    let mut events = Events::with_capacity(1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        selector.select(&mut events, SURELY).unwrap();
        seen.extend(events.iter().map(|event| event.key));
    }
    assert_eq!(seen.len(), 6);
}
