//! The logs of containers: one file per run, each line with its time and stream.
//!
//! A line of the file is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`; `P` marks a piece of a line that
//! goes on with the next piece of the same stream. [`read`] makes of it what a client asked for.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use simcluster_kubelet_api::Output;
use tokio::{
    io::AsyncReadExt as _,
    sync::{broadcast, watch},
};

use crate::clock::Clock;

pub(crate) mod read;

/// A standard stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How far a log has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes in the file.
    pub(crate) length: u64,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

/// The log of one run of a container.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Mutex<File>,
    progress: watch::Sender<Progress>,
    /// Made when somebody attaches, which is seldom.
    live: OnceLock<broadcast::Sender<(Source, Bytes)>>,
}

/// A line longer than this is written in pieces.
const LONGEST_PIECE: usize = 16 * 1024;
/// How much of a program's output is read at once, to begin with and at most.
const SMALLEST_BUFFER: usize = 512;
const LARGEST_BUFFER: usize = 32 * 1024;
/// How many chunks someone who is attached may lag behind.
const LIVE_CHUNKS: usize = 256;

impl Log {
    /// Begins the log at `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Arc<Self>> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            progress: watch::Sender::default(),
            live: OnceLock::new(),
        }))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells of each growth.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The bytes of the container as they come, from now on.
    pub(crate) fn live(&self) -> broadcast::Receiver<(Source, Bytes)> {
        let live = self
            .live
            .get_or_init(|| broadcast::Sender::new(LIVE_CHUNKS));
        live.subscribe()
    }

    /// Nothing more will be written.
    pub(crate) fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// Writes everything that `output` gives, until its end.
    pub(crate) async fn pump(self: Arc<Self>, source: Source, mut output: Output, clock: Clock) {
        // Most programs say little, and each has two of these for as long as it runs.
        let mut buffer = vec![0; SMALLEST_BUFFER];
        let mut pending = VecDeque::new();
        loop {
            let count = match output.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            if let Some(live) = self.live.get()
                && live.receiver_count() > 0
            {
                // The last one may go away meanwhile.
                let _ = live.send((source, Bytes::copy_from_slice(&buffer[..count])));
            }
            pending.extend(&buffer[..count]);
            self.write(&pieces(&mut pending, false), source, clock);
            if count == buffer.len() && count < LARGEST_BUFFER {
                buffer.resize(4 * count, 0);
            }
        }
        self.write(&pieces(&mut pending, true), source, clock);
    }

    fn write(&self, pieces: &[(bool, Vec<u8>)], source: Source, clock: Clock) {
        if pieces.is_empty() {
            return;
        }
        let time = clock.now();
        let mut text = Vec::new();
        for (full, piece) in pieces {
            let tag = if *full { 'F' } else { 'P' };
            // Writing into memory does not fail.
            let _ = write!(text, "{time:.9} {} {tag} ", source.word());
            text.extend_from_slice(piece);
            text.push(b'\n');
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.write_all(&text) {
            Ok(()) => self.progress.send_modify(|p| p.length += text.len() as u64),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "log not written"),
        }
    }
}

/// Takes all complete lines out of `pending`, over-long beginnings too, and at the end the rest.
fn pieces(pending: &mut VecDeque<u8>, end: bool) -> Vec<(bool, Vec<u8>)> {
    let mut pieces = Vec::new();
    loop {
        let newline = pending
            .iter()
            .take(LONGEST_PIECE)
            .position(|byte| *byte == b'\n');
        match newline {
            Some(at) => {
                let line = pending.drain(..at).collect();
                pending.pop_front();
                pieces.push((true, line));
            }
            None if pending.len() >= LONGEST_PIECE => {
                pieces.push((false, pending.drain(..LONGEST_PIECE).collect()));
            }
            None => break,
        }
    }
    if end && !pending.is_empty() {
        pieces.push((false, pending.drain(..).collect()));
    }
    pieces
}

/// The last lines of a log, for a termination message: at most `lines` lines and `bytes` bytes.
pub(crate) fn tail(path: &Path, lines: usize, bytes: usize) -> String {
    let content = fs::read(path).unwrap_or_default();
    let mut text = Vec::new();
    let all: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        if let Some(entry) = read::Entry::parse(line) {
            text.extend_from_slice(entry.text);
            if entry.full {
                text.push(b'\n');
            }
        }
    }
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}
