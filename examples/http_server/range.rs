//! The `Range` field: a part of a file.

/// One range of bytes.
#[derive(Debug, Clone, Copy)]
pub enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// The part of a file that a range selects.
#[derive(Debug)]
pub enum Selected {
    All,
    Part { first: u64, last: u64 },
    Nothing,
}

impl Range {
    /// Returns `None` if it is not a single range; then the whole file is sent.
    pub fn parse(field: &str) -> Option<Self> {
        let (unit, range) = field.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    pub fn of(self, length: u64) -> Selected {
        match self {
            Self::Last(0) => Selected::Nothing,
            Self::Last(_) if length == 0 => Selected::Nothing,
            Self::Last(count) => {
                Selected::Part { first: length.saturating_sub(count), last: length - 1 }
            }
            Self::From(first) | Self::Between(first, _) if first >= length => Selected::Nothing,
            Self::From(first) => Selected::Part { first, last: length - 1 },
            Self::Between(first, last) => Selected::Part { first, last: last.min(length - 1) },
        }
    }
}

/// Parses digits; a number that overflows is beyond the end of every file.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
