//! The rows about kinds of files, `poll` and `fork`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use super::kqueue_sim::*;
use super::rows::{ADD, R, Row, W, readable};
use super::{Queue, change};

pub const ROWS: &[Row] = &[
    ("a regular file and a filter for writing", |system| {
        let (queue, file) = (Queue::new(system), tempfile::tempfile().unwrap());
        let error = queue.error(change(&file, W, ADD));
        assert_eq!(error, if profile().file_takes_write { 0 } else { libc::EOPNOTSUPP });
    }),
    ("a directory", |system| {
        let (queue, folder) = (Queue::new(system), File::open("/").unwrap());
        let error = queue.error(change(&folder, R, ADD));
        assert_eq!(error, if profile().refuses_devices { libc::EINVAL } else { 0 });
    }),
    ("a terminal", |system| {
        let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).unwrap();
        let error = Queue::new(system).error(change(&terminal, R, ADD));
        assert_eq!(error, if profile().refuses_devices { libc::EINVAL } else { 0 });
    }),
    ("poll of a device, and of a pipe beside it", |_| {
        let (null, (reader, _writer)) = (File::open("/dev/null").unwrap(), readable());
        let entry = |file| rustix::event::PollFd::new(file, rustix::event::PollFlags::IN);
        let mut entries = [entry(&null), entry(&reader)];
        assert_eq!(poll(&mut entries, None), Ok(2));
        let is_refused = entries[0].revents() == rustix::event::PollFlags::NVAL;
        assert_eq!(is_refused, profile().refuses_devices);
        assert_eq!(entries[1].revents(), rustix::event::PollFlags::IN);
    }),
    ("the last writer of a named pipe", |system| {
        let (queue, folder) = (Queue::new(system), tempfile::tempdir().unwrap());
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
        let reader: OwnedFd = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        let mut writer = File::options().write(true).open(&path).unwrap();
        queue.set(&[change(&reader, R, ADD)]);
        writer.write_all(b"!").unwrap();
        assert_eq!(queue.filters(), [R]);
        File::from(reader.try_clone().unwrap()).read_exact(&mut [0]).unwrap();
        drop(writer);
        let events = queue.events();
        assert_eq!(events.iter().any(|it| it.flags & EV_EOF != 0), profile().named_pipe_ends);
    }),
    ("a queue is not inherited by fork, and its number is free in the child", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, ADD)]);
        // SAFETY: the child makes system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: any number may be asked for, and nothing runs after it.
            unsafe {
                libc::_exit(i32::from(libc::fcntl(queue.number.as_raw_fd(), libc::F_GETFD) >= 0))
            };
        }
        let mut status = 0;
        // SAFETY: the status lives through the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((status, queue.filters()), (0, vec![R]));
    }),
];
