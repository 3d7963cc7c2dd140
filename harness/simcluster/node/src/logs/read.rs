//! Reading a container's log as a client asked for it: from a time, the last lines, following, cut off.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use simcluster_kubelet_api::{LogOptions, LogStream};
use tokio::sync::watch;

use super::{Log, Progress};

/// One line of a log file.
pub(crate) struct Entry<'a> {
    pub(crate) time: &'a str,
    pub(crate) full: bool,
    pub(crate) text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Takes a line of the file apart, with or without its newline.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let time = str::from_utf8(fields.next()?).ok()?;
        fields.next()?;
        let full = fields.next()? == b"F";
        Some(Self {
            time,
            full,
            text: fields.next().unwrap_or_default(),
        })
    }
}

/// A log as bytes for a client.
pub(crate) fn stream(log: &Arc<Log>, options: &LogOptions) -> io::Result<LogStream> {
    let mut file = File::open(log.path())?;
    let progress = log.progress();
    // A log that is still written may grow while it is read: what there is now is the beginning.
    let length = file.metadata()?.len();
    let start = match options.tail_lines {
        Some(lines) => tail_offset(&mut file, length, lines)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start))?;
    let reader = Reader {
        file,
        read: start,
        end: (!options.follow).then_some(length),
        progress,
        pending: VecDeque::new(),
        middle: false,
        since: options
            .since_unix_nanos
            .and_then(|n| Timestamp::from_nanosecond(n).ok()),
        timestamps: options.timestamps,
        left: options.limit_bytes,
    };
    let chunks = stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|chunk| (chunk, reader)))
    });
    Ok(chunks.boxed())
}

/// Where the last `lines` lines begin.
fn tail_offset(file: &mut File, length: u64, lines: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    if lines == 0 {
        return Ok(length);
    }
    let mut seen = 0;
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or_default()];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let at = begin + index as u64;
            // The newline that ends the file ends its last line.
            if *byte == b'\n' && at + 1 < length {
                seen += 1;
                if seen == lines {
                    return Ok(at + 1);
                }
            }
        }
        end = begin;
    }
    Ok(0)
}

struct Reader {
    file: File,
    read: u64,
    /// Where to stop, unless the log is followed.
    end: Option<u64>,
    progress: watch::Receiver<Progress>,
    pending: VecDeque<u8>,
    /// The last piece was not the end of its line.
    middle: bool,
    since: Option<Timestamp>,
    timestamps: bool,
    left: Option<u64>,
}

impl Reader {
    /// The next bytes for the client; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            let progress = *self.progress.borrow_and_update();
            let available = self.end.unwrap_or(progress.length.max(self.read));
            if self.read < available {
                let out = self.take(available)?;
                if !out.is_empty() {
                    return Ok(Some(out));
                }
                continue;
            }
            if self.end.is_some() || progress.closed {
                return Ok(None);
            }
            if self.progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, available: u64) -> io::Result<Bytes> {
        let mut block =
            vec![0; usize::try_from((available - self.read).min(64 * 1024)).unwrap_or(0)];
        let count = self.file.read(&mut block)?;
        if count == 0 {
            // The file is shorter than it was: nothing more to expect of it.
            self.read = available;
            return Ok(Bytes::new());
        }
        self.read += count as u64;
        self.pending.extend(&block[..count]);
        let mut out = Vec::new();
        while let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=at).collect();
            self.show(&line, &mut out);
        }
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        Ok(out.into())
    }

    fn show(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = Entry::parse(line) else {
            return;
        };
        let early = self.since.is_some_and(|since| {
            entry
                .time
                .parse::<Timestamp>()
                .is_ok_and(|time| time < since)
        });
        if early {
            return;
        }
        if self.timestamps && !self.middle {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if entry.full {
            out.push(b'\n');
        }
        self.middle = !entry.full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, logs::Source};
    use futures::TryStreamExt as _;

    async fn log_of(text: &'static [u8]) -> (tempfile::TempDir, Arc<Log>) {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(&dir.path().join("0.log")).unwrap();
        Arc::clone(&log)
            .pump(Source::Stdout, Box::new(text), Clock::start())
            .await;
        log.close();
        (dir, log)
    }

    async fn read(log: &Arc<Log>, options: LogOptions) -> String {
        let chunks: Vec<Bytes> = stream(log, &options).unwrap().try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn tail_and_limit_cut_the_log() {
        let (_dir, log) = log_of(b"line 1\nline 2\nline 3\n").await;
        let all = LogOptions::default();
        assert_eq!(read(&log, all.clone()).await, "line 1\nline 2\nline 3\n");
        let tail = |n| LogOptions {
            tail_lines: Some(n),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, tail(2)).await, "line 2\nline 3\n");
        assert_eq!(read(&log, tail(0)).await, "");
        assert_eq!(read(&log, tail(9)).await, "line 1\nline 2\nline 3\n");
        let limit = LogOptions {
            limit_bytes: Some(10),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, limit).await, "line 1\nlin");
    }

    #[tokio::test]
    async fn timestamps_have_nine_digits_and_times_filter() {
        let (_dir, log) = log_of(b"hello\n").await;
        let text = read(
            &log,
            LogOptions {
                timestamps: true,
                ..LogOptions::default()
            },
        )
        .await;
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "hello\n");
        assert_eq!(time.split_once('.').unwrap().1.len(), "123456789Z".len());
        let later = Timestamp::now().as_nanosecond() + 60_000_000_000;
        let options = LogOptions {
            since_unix_nanos: Some(later),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, options).await, "");
    }

    #[tokio::test]
    async fn a_last_line_without_newline_and_very_long_lines_come_back_unchanged() {
        let lines: &'static [u8] = Vec::leak([vec![b'x'; 40_000], b"\nend".to_vec()].concat());
        let (_dir, log) = log_of(lines).await;
        assert_eq!(read(&log, LogOptions::default()).await.as_bytes(), lines);
        assert_eq!(super::super::tail(log.path(), 80, 5), "x\nend");
    }

    #[tokio::test]
    async fn following_ends_when_the_log_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(&dir.path().join("0.log")).unwrap();
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut lines = stream(&log, &options).unwrap();
        let pump = |text: &'static [u8]| {
            Arc::clone(&log).pump(Source::Stderr, Box::new(text), Clock::start())
        };
        pump(b"one\n").await;
        assert_eq!(lines.next().await.unwrap().unwrap(), "one\n");
        pump(b"two\n").await;
        assert_eq!(lines.next().await.unwrap().unwrap(), "two\n");
        log.close();
        assert!(lines.next().await.is_none());
    }
}
