//! The lab that a thread is in: code under test that creates its own loop finds it.

// They are const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decisions::{Keep, bits_at};
use super::disorder::Disorder;
use super::lab::Lab;

thread_local! {
    static CURRENT: RefCell<Vec<Lab>> = const { RefCell::new(Vec::new()) };
}

impl Lab {
    /// Puts the loops and selectors that this thread creates from now on into the lab, until the guard is dropped.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    /// use std::time::Duration;
    ///
    /// fn code_under_test() -> std::io::Result<()> {
    ///     let mut event_loop = EventLoop::new(())?;
    ///     event_loop.call_later(Duration::from_secs(3600), |_loop| {});
    ///     event_loop.run()
    /// }
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let _in_lab = lab.enter();
    /// code_under_test()?;
    /// assert_eq!(lab.elapsed(), Duration::from_secs(3600));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter(&self) -> InLab {
        let depth = CURRENT.with_borrow_mut(|labs| {
            labs.push(self.clone());
            labs.len()
        });
        InLab { depth, of_this_thread: PhantomData }
    }

    /// The lab that the thread is in, or the one that `POLYSELECT_DISORDER` asks for.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(|labs| labs.last().cloned()).or_else(of_environment)
    }
}

/// The lab of a whole program: `POLYSELECT_DISORDER=promised:42` puts each selector into one with the system's clock,
/// whose seed follows from 42.
fn of_environment() -> Option<Lab> {
    static ASKED_FOR: OnceLock<Option<(Disorder, u64)>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let asked_for = ASKED_FOR.get_or_init(|| {
        let value = std::env::var("POLYSELECT_DISORDER").ok()?;
        let parsed = value
            .split_once(':')
            .and_then(|(level, seed)| Some((Disorder::by_name(level)?, seed.parse().ok()?)));
        let expected = "POLYSELECT_DISORDER is a level and a seed, such as promised:42; the levels are none, promised, \
                        network and beyond";
        Some(parsed.unwrap_or_else(|| panic!("{expected}, not {value:?}")))
    });
    let (disorder, seed) = asked_for.as_ref()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
    Some(Lab::create(bits_at(*seed, 3, number), *disorder, Keep::All, true))
}

/// Keeps a thread in a lab; [`Lab::enter`] returns it.
///
/// ```
/// use polyselect::testing::{Disorder, InLab, Lab};
///
/// let in_lab: InLab = Lab::new(1, Disorder::none()).enter();
/// drop(in_lab);
/// ```
#[derive(Debug)]
#[must_use = "the thread leaves the lab when this is dropped"]
pub struct InLab {
    depth: usize,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for InLab {
    fn drop(&mut self) {
        // Guards that were dropped out of order leave with the outermost.
        let left = CURRENT.with_borrow_mut(|labs| labs.split_off((self.depth - 1).min(labs.len())));
        drop(left);
    }
}
