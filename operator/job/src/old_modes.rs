//! Takes SQL modes out of a dump that newer servers do not know.
//!
//! MySQL 5.7 writes `NO_AUTO_CREATE_USER` into the `SET sql_mode` line before each routine, trigger and event;
//! MySQL 8.0 and later refuse that line. Only lines that the dump program itself writes for this purpose are
//! looked at; everything else passes as it is, however long its lines are.

use std::io::{self, BufRead, BufReader, Read};

/// How such a line begins; the version number of its comment varies.
const BEGINNING: &[u8] = b"/*!50003 SET sql_mode";
const GONE: &[u8] = b"NO_AUTO_CREATE_USER";

/// The dump without modes that are gone.
#[derive(Debug)]
pub struct WithoutOldModes<R> {
    source: BufReader<R>,
    /// Bytes that are ready to be given out.
    ready: Vec<u8>,
    given: usize,
    at_line_start: bool,
}

impl<R: Read> WithoutOldModes<R> {
    /// Around a dump.
    pub fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(64 * 1024, source),
            ready: Vec::new(),
            given: 0,
            at_line_start: true,
        }
    }

    /// Fills `ready` with the next piece; leaves it empty at the end.
    fn next_piece(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.given = 0;
        if self.at_line_start {
            let limit = BEGINNING.len() as u64;
            (&mut self.source)
                .take(limit)
                .read_until(b'\n', &mut self.ready)?;
            if self.ready == BEGINNING {
                self.source.read_until(b'\n', &mut self.ready)?;
                self.ready = without(&self.ready);
            }
        } else {
            let buffer = self.source.fill_buf()?;
            let length = buffer
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(buffer.len(), |position| position + 1);
            self.ready.extend_from_slice(&buffer[..length]);
            self.source.consume(length);
        }
        self.at_line_start = self.ready.ends_with(b"\n");
        Ok(())
    }
}

impl<R: Read> Read for WithoutOldModes<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.next_piece()?;
        }
        let left = &self.ready[self.given..];
        let length = left.len().min(into.len());
        into[..length].copy_from_slice(&left[..length]);
        self.given += length;
        Ok(length)
    }
}

/// The line without the mode and without the comma that went with it.
fn without(line: &[u8]) -> Vec<u8> {
    let Some(begin) = line.windows(GONE.len()).position(|window| window == GONE) else {
        return line.to_vec();
    };
    let mut end = begin + GONE.len();
    let mut begin = begin;
    if line.get(end) == Some(&b',') {
        end += 1;
    } else if begin > 0 && line[begin - 1] == b',' {
        begin -= 1;
    }
    [&line[..begin], &line[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(text: &str) -> String {
        let mut out = String::new();
        WithoutOldModes::new(text.as_bytes())
            .read_to_string(&mut out)
            .unwrap();
        out
    }

    #[test]
    fn the_mode_goes_from_every_place_in_the_list() {
        for (before, after) in [
            ("'NO_AUTO_CREATE_USER'", "''"),
            ("'NO_AUTO_CREATE_USER,ANSI'", "'ANSI'"),
            ("'ANSI,NO_AUTO_CREATE_USER'", "'ANSI'"),
            ("'A,NO_AUTO_CREATE_USER,B'", "'A,B'"),
            ("'A,B'", "'A,B'"),
        ] {
            let line = |list: &str| {
                format!("x\n/*!50003 SET sql_mode              = {list} */ ;\nDELIMITER ;;\n")
            };
            assert_eq!(filtered(&line(before)), line(after));
        }
    }

    #[test]
    fn data_with_the_word_in_it_stays() {
        let text = "INSERT INTO t VALUES ('/*!50003 SET sql_mode = NO_AUTO_CREATE_USER');\n";
        assert_eq!(filtered(text), text);
    }

    proptest! {
        #[test]
        fn other_text_passes_as_it_is(text in "[a-z\n/*!0-9 ]{0,300}") {
            prop_assert_eq!(filtered(&text), text);
        }
    }
}
