//! The sets of `select` and the system call, in one version for each family of systems.

#![allow(unsafe_code)] // `select` is unsafe in rustix, and a foreign function on Windows.

/// The result of a call.
pub(super) enum Found {
    Nothing,
    /// See the sets.
    Some,
    /// A descriptor is not open, and the sets are unchanged.
    NotOpen,
}

#[cfg(unix)]
pub(super) use bit_sets::Sets;
#[cfg(windows)]
pub(super) use handle_sets::Sets;

/// Unix: one bit for each descriptor.
#[cfg(unix)]
mod bit_sets {
    use std::io;
    use std::time::Duration;

    use rustix::event::{
        FdSetElement, FdSetIter, fd_set_insert, fd_set_num_elements, fd_set_remove, select,
    };
    use rustix::fd::RawFd;
    use rustix::io::Errno;

    use super::super::DIRECTIONS;
    use super::Found;
    use crate::backend::poll_set::to_timespec;
    use crate::descriptor::Descriptor;
    use crate::interest::Interest;
    use crate::raw_event::bits;

    #[derive(Default)]
    pub(crate) struct Sets {
        wanted: [Vec<FdSetElement>; 3],
        /// A copy, in which the call returns the ready descriptors.
        found: [Vec<FdSetElement>; 3],
        /// How many bits the call found.
        bits: usize,
        /// One more than the highest descriptor that was ever in a set.
        end: RawFd,
    }

    impl Sets {
        pub(crate) fn set(&mut self, descriptor: Descriptor, interest: Interest) {
            let number = descriptor.number();
            if number >= self.end {
                self.end = number + 1;
                let elements = fd_set_num_elements(descriptor.index() + 1, self.end);
                for set in self.wanted.iter_mut().chain(&mut self.found) {
                    set.resize(elements, FdSetElement::default());
                }
            }
            for (set, direction) in self.wanted.iter_mut().zip(DIRECTIONS) {
                let change =
                    if interest.contains(direction) { fd_set_insert } else { fd_set_remove };
                change(set, number);
            }
        }

        pub(crate) fn call(&mut self, timeout: Option<Duration>) -> io::Result<Found> {
            for (found, wanted) in self.found.iter_mut().zip(&self.wanted) {
                found.copy_from_slice(wanted);
            }
            let [read, write, except] = self.found.each_mut().map(|set| &mut **set);
            let timeout = timeout.map(to_timespec);
            // SAFETY: the sets have one size, with room for every descriptor below `end`. The selector owns
            // the sources of these descriptors while they are here, see `Descriptor::borrow`; for one that
            // was closed behind its back the call returns `EBADF`.
            let found = unsafe {
                select(self.end, Some(read), Some(write), Some(except), timeout.as_ref())
            };
            match found {
                Ok(0) => Ok(Found::Nothing),
                Ok(bits) => {
                    self.bits = usize::try_from(bits).unwrap_or(0);
                    Ok(Found::Some)
                }
                Err(Errno::BADF) => Ok(Found::NotOpen),
                Err(error) => Err(error.into()),
            }
        }

        /// The descriptors with a bit in any of the sets, in ascending order; with the bits that `poll` does
        /// not report, which are none, and those of the sets.
        ///
        /// The kernel neither examines nor clears bits above the process's table of descriptors. So the
        /// walk stops after as many bits as the call counted.
        pub(crate) fn found(&self) -> impl Iterator<Item = (Descriptor, u32, u32)> {
            let mut sets = self.found.each_ref().map(|set| FdSetIter::new(set).peekable());
            let mut left = self.bits;
            std::iter::from_fn(move || {
                let number = sets.iter_mut().filter_map(|set| set.peek().copied()).min()?;
                if left == 0 {
                    return None;
                }
                let mut seen = 0;
                for (set, bit) in sets.iter_mut().zip([bits::IN, bits::OUT, bits::PRI]) {
                    if set.next_if_eq(&number).is_some() {
                        left = left.saturating_sub(1);
                        seen |= bit;
                    }
                }
                Some((Descriptor::from_number(number), 0, seen))
            })
        }
    }
}

/// Windows: a list of handles.
#[cfg(windows)]
mod handle_sets {
    use std::io;
    use std::time::Duration;

    use rustix::fd::RawFd;
    use windows_sys::Win32::Networking::WinSock::{
        FD_SET, TIMEVAL, WSAENOTSOCK, WSAGetLastError, select,
    };

    use super::super::DIRECTIONS;
    use super::Found;
    use crate::descriptor::Descriptor;
    use crate::interest::Interest;
    use crate::raw_event::bits;

    /// A count and as many handles, as in `FD_SET`, whose array of 64 is a limit of C's type alone.
    type HandleSet = Vec<usize>;

    #[derive(Default)]
    pub(crate) struct Sets {
        wanted: Vec<Wanted>,
        found: [HandleSet; 3],
    }

    #[derive(Clone, Copy)]
    struct Wanted {
        number: RawFd,
        interest: Interest,
        /// A connected socket in the set of exceptions has urgent data. Known once it has been there.
        is_connected: bool,
    }

    impl Wanted {
        /// A failed connection is in the set of exceptions alone, whatever the interest. Unread urgent data
        /// would end each call.
        fn is_in(&self, direction: Interest) -> bool {
            let may_fail = direction == Interest::PRIORITY && !self.is_connected;
            self.interest.contains(direction) || may_fail
        }
    }

    /// Whether the socket has a peer, by a duplicate, because `getpeername` has no other safe form.
    fn is_connected(number: RawFd) -> bool {
        let duplicate = Descriptor::from_number(number).borrow().try_clone_to_owned();
        duplicate.is_ok_and(|socket| std::net::TcpStream::from(socket).peer_addr().is_ok())
    }

    impl Sets {
        pub(crate) fn set(&mut self, descriptor: Descriptor, interest: Interest) {
            let number = descriptor.number();
            let place = self.wanted.binary_search_by_key(&number, |wanted| wanted.number);
            let wanted = Wanted { number, interest, is_connected: false };
            match (place, interest.is_empty()) {
                (Ok(place), true) => drop(self.wanted.remove(place)),
                (Ok(place), false) => self.wanted[place] = wanted,
                (Err(place), false) => self.wanted.insert(place, wanted),
                (Err(_), true) => {}
            }
        }

        pub(crate) fn call(&mut self, timeout: Option<Duration>) -> io::Result<Found> {
            if self.wanted.is_empty() {
                // The call refuses empty sets; nothing can change during the sleep.
                std::thread::sleep(timeout.unwrap_or(Duration::MAX));
                return Ok(Found::Nothing);
            }
            for (set, direction) in self.found.iter_mut().zip(DIRECTIONS) {
                set.clear();
                set.push(0);
                let wanted = self.wanted.iter().filter(|wanted| wanted.is_in(direction));
                set.extend(wanted.map(|wanted| wanted.number as usize));
                set[0] = set.len() - 1;
            }
            let [read, write, except] =
                self.found.each_mut().map(|set| set.as_mut_ptr().cast::<FD_SET>());
            let timeout = timeout.map(|timeout| {
                // Rounded up, so that no wait ends early.
                let micros = timeout.as_nanos().div_ceil(1000);
                let seconds = i32::try_from(micros / 1_000_000).unwrap_or(i32::MAX);
                TIMEVAL { tv_sec: seconds, tv_usec: (micros % 1_000_000) as i32 }
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), |timeout| timeout);
            // SAFETY: each set begins with the number of handles that follow, and is aligned as
            // `FD_SET` is; the sets and the timeout live through the call.
            let found = unsafe { select(0, read, write, except, timeout) };
            match found {
                0 => Ok(Found::Nothing),
                1.. => Ok(Found::Some),
                // SAFETY: has no conditions.
                _ => match unsafe { WSAGetLastError() } {
                    WSAENOTSOCK => Ok(Found::NotOpen),
                    error => Err(io::Error::from_raw_os_error(error)),
                },
            }
        }

        /// The sockets in any of the sets, with the bits that `WSAPoll` does not report; the bits of the sets
        /// are not needed here.
        pub(crate) fn found(&mut self) -> impl Iterator<Item = (Descriptor, u32, u32)> {
            let Self { wanted, found } = self;
            let has = |set: &HandleSet, number: RawFd| set[1..=set[0]].contains(&(number as usize));
            wanted.iter_mut().filter_map(move |wanted| {
                let number = wanted.number;
                let [read, write, except] = found.each_ref().map(|set| has(set, number));
                wanted.is_connected |= except && is_connected(number);
                let known = match except {
                    // `WSAPoll` does not report priority data,
                    true if wanted.is_connected => wanted.interest.poll_bits() & bits::PRI,
                    // nor, before Windows 10 2004, failed connections.
                    true => bits::ERR,
                    false => 0,
                };
                (read || write || except).then(|| (Descriptor::from_number(number), known, 0))
            })
        }
    }
}
