//! How far a long operation is, for people who look into the log of its Job.
//!
//! It counts bytes that are read and says nothing of those that are yet to come: nobody knows them.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::say;

/// Often enough to see that it goes on, seldom enough to fill no log.
const PERIOD: Duration = Duration::from_secs(10);

/// A reader that tells from time to time how much was read.
#[derive(Debug)]
pub struct Told<R, T> {
    inner: R,
    bytes: u64,
    period: Duration,
    last: Instant,
    tell: T,
}

/// Says in the log how many bytes of SQL `what` has got through.
pub fn logged<R: Read>(inner: R, what: &'static str) -> Told<R, impl FnMut(u64)> {
    let begun = Instant::now();
    Told::every(PERIOD, inner, move |bytes| {
        let seconds = begun.elapsed().as_secs();
        say(&format!("{what}: {bytes} bytes of SQL in {seconds} s"));
    })
}

impl<R: Read, T: FnMut(u64)> Told<R, T> {
    fn every(period: Duration, inner: R, tell: T) -> Self {
        Self {
            inner,
            bytes: 0,
            period,
            last: Instant::now(),
            tell,
        }
    }
}

impl<R: Read, T: FnMut(u64)> Read for Told<R, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        if length > 0 && self.last.elapsed() >= self.period {
            self.last = Instant::now();
            (self.tell)(self.bytes);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_operation_says_how_far_it_is() {
        let mut said = Vec::new();
        let mut told = Told::every(Duration::ZERO, &b"abcde"[..], |bytes| said.push(bytes));
        let mut buffer = [0; 2];
        while told.read(&mut buffer).unwrap() > 0 {}
        assert_eq!(said, [2, 4, 5]);
        let mut quiet = Told::every(Duration::MAX, &b"abcde"[..], |_| panic!("too soon"));
        io::copy(&mut quiet, &mut io::sink()).unwrap();
    }
}
