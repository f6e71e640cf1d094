//! Rounds in which each contestant runs once, and the comparison with the first.

use std::io;

/// Lowest, median and highest of some figures.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// Sorts the figures; there must be one at least.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self {
            min: figures[0],
            median: figures[figures.len() / 2],
            max: figures[figures.len() - 1],
        }
    }
}

/// The result of one contestant over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Its own figures.
    pub cost: Spread,
    /// To those of the first contestant, round by round.
    pub ratio: Spread,
}

/// Runs each contestant once in each of `count` rounds, after a round that does not count. A call returns the figures
/// of one run; the result has them by contestant and by round.
///
/// Each round has another order, so that no contestant always follows the same other one.
pub fn rounds<const N: usize>(
    count: usize,
    contestants: &mut [impl FnMut() -> io::Result<[f64; N]>],
) -> io::Result<Vec<Vec<[f64; N]>>> {
    if count == 0 {
        let message = "the number of rounds is 0; it has to be at least 1";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut figures = vec![Vec::with_capacity(count); contestants.len()];
    let mut order: Vec<_> = (0..contestants.len()).collect();
    let mut random = 1;
    for round in 0..=count {
        shuffle(&mut order, &mut random);
        for &contestant in &order {
            let run = contestants[contestant]()?;
            if round > 0 {
                figures[contestant].push(run);
            }
        }
    }
    Ok(figures)
}

/// Uses a generator that yields the same orders every time (xorshift).
fn shuffle(order: &mut [usize], random: &mut u64) {
    for place in (1..order.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(place, (*random % (place as u64 + 1)) as usize);
    }
}

/// Compares figures by contestant, and by round, to those of the first.
pub fn compare<const N: usize>(figures: &[Vec<[f64; N]>]) -> Vec<[Compared; N]> {
    let compared = |of: &[[f64; N]], figure: usize| {
        let costs = of.iter().map(|run| run[figure]).collect();
        let ratios = of.iter().zip(&figures[0]).map(|(run, base)| run[figure] / base[figure]);
        Compared { cost: Spread::of(costs), ratio: Spread::of(ratios.collect()) }
    };
    figures.iter().map(|of| std::array::from_fn(|figure| compared(of, figure))).collect()
}

/// [`rounds`], [compared](compare).
pub fn alternate<const N: usize>(
    count: usize,
    contestants: &mut [impl FnMut() -> io::Result<[f64; N]>],
) -> io::Result<Vec<[Compared; N]>> {
    Ok(compare(&rounds(count, contestants)?))
}
