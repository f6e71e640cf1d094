//! The sets that go over, and the call, for each kind of system.

#![allow(unsafe_code)] // `select` is unsafe in rustix, and a foreign function elsewhere.

/// What a call found.
pub(super) enum Found {
    Nothing,
    /// See the sets.
    Some,
    /// Some number is not open, and the sets say nothing.
    NotOpen,
}

#[cfg(unix)]
pub(super) use bit_sets::Sets;
#[cfg(windows)]
pub(super) use handle_sets::Sets;

/// The highest number that fits into a set.
pub(in super::super) const CEILING: Option<u32> =
    if cfg!(any(target_os = "illumos", target_os = "solaris")) {
        Some(if cfg!(target_pointer_width = "64") { 65_535 } else { 1_023 })
    } else {
        None
    };

/// Unix: one bit for each number.
#[cfg(unix)]
mod bit_sets {
    use std::io;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::super::DIRECTIONS;
    use super::Found;
    use crate::descriptor::Descriptor;
    use crate::interest::Interest;

    #[derive(Default)]
    pub(crate) struct Sets {
        wanted: [BitSet; 3],
        /// What goes over; the call leaves what it found.
        found: [BitSet; 3],
        /// How many bits it found.
        bits: usize,
    }

    impl Sets {
        pub(crate) fn set(&mut self, descriptor: Descriptor, interest: Interest) {
            for (set, direction) in self.wanted.iter_mut().zip(DIRECTIONS) {
                set.set(descriptor, interest.contains(direction));
            }
        }

        pub(crate) fn call(&mut self, timeout: Option<Duration>) -> io::Result<Found> {
            for (found, wanted) in self.found.iter_mut().zip(&self.wanted) {
                found.copy(wanted);
            }
            match call(&mut self.found, timeout) {
                Ok(0) => Ok(Found::Nothing),
                Ok(bits) => {
                    self.bits = bits;
                    Ok(Found::Some)
                }
                Err(Errno::BADF) => Ok(Found::NotOpen),
                Err(error) => Err(error.into()),
            }
        }

        /// Those with a bit in any of the sets, in ascending order, and what only `select` knows.
        ///
        /// Bits above the process's own table are neither looked at nor cleared by the kernel. So the
        /// walk stops after as many as it counted.
        pub(crate) fn found(&self) -> impl Iterator<Item = (Descriptor, u32)> {
            let mut sets = self.found.each_ref().map(|set| set.iter().peekable());
            let mut bits = self.bits;
            std::iter::from_fn(move || {
                let number = sets.iter_mut().filter_map(|set| set.peek().copied()).min()?;
                if bits == 0 {
                    return None;
                }
                for set in &mut sets {
                    bits -= usize::from(set.next_if_eq(&number).is_some()).min(bits);
                }
                Some((Descriptor::from_number(number), 0))
            })
        }
    }

    #[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
    mod system {
        use std::time::Duration;

        use rustix::event::{
            FdSetElement, FdSetIter, fd_set_insert, fd_set_num_elements, fd_set_remove, select,
        };
        use rustix::fd::RawFd;

        use crate::backend::poll_set::to_timespec;
        use crate::descriptor::Descriptor;

        /// As long as its highest number needs.
        #[derive(Default)]
        pub(crate) struct BitSet {
            elements: Vec<FdSetElement>,
            numbers: RawFd,
        }

        impl BitSet {
            pub(crate) fn set(&mut self, descriptor: Descriptor, present: bool) {
                let number = descriptor.number();
                if number >= self.numbers {
                    self.numbers = number + 1;
                    let elements = fd_set_num_elements(descriptor.index() + 1, self.numbers);
                    self.elements.resize(elements, FdSetElement::default());
                }
                let change = if present { fd_set_insert } else { fd_set_remove };
                change(&mut self.elements, number);
            }

            pub(crate) fn copy(&mut self, other: &Self) {
                self.elements.clone_from(&other.elements);
                self.numbers = other.numbers;
            }

            pub(crate) fn iter(&self) -> impl Iterator<Item = RawFd> {
                FdSetIter::new(&self.elements)
            }
        }

        pub(crate) fn call(
            sets: &mut [BitSet; 3],
            timeout: Option<Duration>,
        ) -> rustix::io::Result<usize> {
            let numbers = sets[0].numbers;
            let [read, write, except] = sets.each_mut().map(|set| &mut *set.elements);
            let timeout = timeout.map(to_timespec);
            // SAFETY: the sets are of one size, for every number is set in each of them. The numbers
            // are of sources that the selector owns while they are here, see `Descriptor::borrow`; one
            // closed against the rules is answered with `EBADF`.
            let found = unsafe {
                select(numbers, Some(read), Some(write), Some(except), timeout.as_ref())
            }?;
            Ok(usize::try_from(found).unwrap_or(0))
        }
    }

    /// The C library's function, which reads sets of a fixed size.
    #[cfg(any(target_os = "illumos", target_os = "solaris"))]
    mod system {
        use std::time::Duration;

        use rustix::fd::RawFd;
        use rustix::io::Errno;

        use super::super::CEILING;
        use crate::descriptor::Descriptor;

        const NUMBERS: RawFd = CEILING.unwrap().cast_signed() + 1;
        const BITS: RawFd = libc::c_ulong::BITS.cast_signed();

        pub(crate) struct BitSet(Vec<libc::c_ulong>);

        impl Default for BitSet {
            fn default() -> Self {
                Self(vec![0; (NUMBERS / BITS) as usize])
            }
        }

        impl BitSet {
            pub(crate) fn set(&mut self, descriptor: Descriptor, present: bool) {
                let (word, bit) = (descriptor.number() / BITS, 1 << (descriptor.number() % BITS));
                let word = &mut self.0[word as usize];
                *word = if present { *word | bit } else { *word & !bit };
            }

            pub(crate) fn copy(&mut self, other: &Self) {
                self.0.copy_from_slice(&other.0);
            }

            pub(crate) fn iter(&self) -> impl Iterator<Item = RawFd> {
                let words =
                    (0..).step_by(BITS as usize).zip(&self.0).filter(|(_, word)| **word != 0);
                words.flat_map(|(first, word)| {
                    let bits = (0..BITS).filter(move |bit| word & 1 << bit != 0);
                    bits.map(move |bit| first + bit)
                })
            }
        }

        pub(crate) fn call(
            sets: &mut [BitSet; 3],
            timeout: Option<Duration>,
        ) -> rustix::io::Result<usize> {
            let [read, write, except] = sets.each_mut().map(|set| set.0.as_mut_ptr().cast());
            let mut timeout = timeout.map(|timeout| libc::timeval {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                // Rounded up, so that no wait ends early.
                tv_usec: libc::suseconds_t::from(timeout.subsec_nanos().div_ceil(1000)),
            });
            if let Some(timeout) = &mut timeout
                && timeout.tv_usec == 1_000_000
            {
                (timeout.tv_sec, timeout.tv_usec) = (timeout.tv_sec + 1, 0);
            }
            let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), |timeout| timeout);
            // SAFETY: each set is as large as the system's `fd_set`, and lives through the call, as
            // does the timeout.
            let found = unsafe { libc::select(NUMBERS, read, write, except, timeout) };
            usize::try_from(found).map_err(|_| {
                let error = std::io::Error::last_os_error();
                Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
            })
        }
    }

    use system::{BitSet, call};
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

    /// A count and as many handles, as in `FD_SET`; that its array has 64 places is a matter of C's
    /// type alone.
    type HandleSet = Vec<usize>;

    #[derive(Default)]
    pub(crate) struct Sets {
        wanted: Vec<(RawFd, Interest)>,
        found: [HandleSet; 3],
    }

    impl Sets {
        pub(crate) fn set(&mut self, descriptor: Descriptor, interest: Interest) {
            let number = descriptor.number();
            let place = self.wanted.binary_search_by_key(&number, |wanted| wanted.0);
            match (place, interest.is_empty()) {
                (Ok(place), true) => drop(self.wanted.remove(place)),
                (Ok(place), false) => self.wanted[place].1 = interest,
                (Err(place), false) => self.wanted.insert(place, (number, interest)),
                (Err(_), true) => {}
            }
        }

        pub(crate) fn call(&mut self, timeout: Option<Duration>) -> io::Result<Found> {
            if self.wanted.is_empty() {
                // An error for the call; nothing can change while this thread sleeps.
                std::thread::sleep(timeout.unwrap_or(Duration::MAX));
                return Ok(Found::Nothing);
            }
            for (set, direction) in self.found.iter_mut().zip(DIRECTIONS) {
                // A connection that fails shows as an exception alone, whatever was asked for.
                let asked = |interest: Interest| {
                    interest.contains(direction) || direction == Interest::PRIORITY
                };
                set.clear();
                set.push(0);
                let wanted = self.wanted.iter().filter(|(_, interest)| asked(*interest));
                set.extend(wanted.map(|(number, _)| *number as usize));
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

        /// Those in any of the sets, and what only `select` knows.
        pub(crate) fn found(&self) -> impl Iterator<Item = (Descriptor, u32)> {
            let has = |set: &HandleSet, number: RawFd| set[1..=set[0]].contains(&(number as usize));
            self.wanted.iter().filter_map(move |&(number, interest)| {
                let [read, write, except] = self.found.each_ref().map(|set| has(set, number));
                let known = match except {
                    // `WSAPoll` knows no priority data.
                    true if interest.contains(Interest::PRIORITY) => bits::PRI,
                    // Nor, on older systems, failed connections.
                    true if !read && !write => bits::ERR,
                    _ => 0,
                };
                (read || write || except).then(|| (Descriptor::from_number(number), known))
            })
        }
    }
}
