//! exec and attach over SPDY: one stream each for error, input, outputs and terminal size.

use std::io;

use simcluster_kubelet_api::{Duplex, ExitStatus, Session, StreamOptions};
use tokio::io::AsyncWriteExt;

use super::connection::{self, Incoming, Outgoing, Streams};
use crate::outcome;

/// The streams of a session, as the client opened them.
#[derive(Default)]
struct Opened {
    error: Option<Outgoing>,
    stdin: Option<Incoming>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    resize: Option<Incoming>,
}

pub(crate) async fn serve<T: Duplex + 'static>(
    connection: T,
    options: &StreamOptions,
    session: Session,
) -> io::Result<()> {
    let (mut streams, connection) = connection::open(connection)?;
    let Some(opened) = collect(&mut streams, options).await else {
        return Ok(());
    };
    let carried = carry(opened, session);
    tokio::select! {
        outcome = carried => outcome?,
        // The client has gone; the session is dropped with the future above.
        () = ended(streams) => {}
    }
    // What is queued is written before the connection closes: the client hangs up when it has it all.
    drop(tokio::time::timeout(std::time::Duration::from_secs(5), connection).await);
    Ok(())
}

/// Resolves when the client opens no more streams because it has gone.
async fn ended(mut streams: Streams) {
    while streams.next().await.is_some() {}
}

/// Waits for each stream that the options ask for; `None` when the client goes before.
async fn collect(streams: &mut Streams, options: &StreamOptions) -> Option<Opened> {
    let wanted = 1
        + usize::from(options.stdin)
        + usize::from(options.stdout)
        + usize::from(options.stderr && !options.tty)
        + usize::from(options.tty);
    let mut opened = Opened::default();
    for _ in 0..wanted {
        let stream = streams.next().await?;
        match stream.header("streamtype") {
            Some("error") => opened.error = Some(stream.outgoing),
            Some("stdin") => opened.stdin = Some(stream.incoming),
            Some("stdout") => opened.stdout = Some(stream.outgoing),
            Some("stderr") => opened.stderr = Some(stream.outgoing),
            Some("resize") => opened.resize = Some(stream.incoming),
            _ => {}
        }
    }
    Some(opened)
}

async fn carry(opened: Opened, session: Session) -> io::Result<()> {
    let Session {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    let input = async {
        let (Some(mut from), Some(mut to)) = (opened.stdin, stdin) else {
            return;
        };
        while let Some(bytes) = from.next().await {
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    let sizes = async {
        let (Some(mut from), Some(to)) = (opened.resize, resize) else {
            return;
        };
        while let Some(bytes) = from.next().await {
            for line in bytes.split(|byte| *byte == b'\n') {
                if let Some(size) = outcome::terminal_size(line) {
                    to.send(size).await.ok();
                }
            }
        }
    };
    let output = async {
        let out = async {
            match (&opened.stdout, stdout) {
                (Some(to), Some(mut from)) => to.send_all(&mut from).await,
                _ => Ok(()),
            }
        };
        let err = async {
            match (&opened.stderr, stderr) {
                (Some(to), Some(mut from)) => to.send_all(&mut from).await,
                _ => Ok(()),
            }
        };
        let (out, err) = tokio::join!(out, err);
        let exit = exit
            .await
            .unwrap_or_else(|_| ExitStatus::Failed("the node lost it".to_owned()));
        if let Some(error) = &opened.error {
            error
                .send(outcome::status(&exit).to_string().as_bytes())
                .await?;
            error.finish().await?;
        }
        out.and(err)
    };
    let never_ending = async {
        tokio::join!(input, sizes);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = output => outcome,
        () = never_ending => Ok(()),
    }
}
