//! What tasks want of their loop.
//!
//! The loop is borrowed while it polls a task, so a task does not call it. It leaves a request here, and the loop serves
//! it after the poll.

use std::collections::VecDeque;
use std::rc::Rc;

use super::time::Alarm;
use super::watched::Watched;

/// What is wanted of the loop's timers.
pub(crate) enum AlarmRequest {
    Set(Rc<Alarm>),
    Cancel(Rc<Alarm>),
}

pub(crate) enum Request {
    Alarm(AlarmRequest),
    /// A source may not be watched for what its tasks wait for.
    Changed(Rc<dyn Watched>),
}

/// Requests in the order in which they were made. Each is taken by itself, so that a panic while one is served loses no
/// other.
pub(super) type Requests = VecDeque<Request>;
