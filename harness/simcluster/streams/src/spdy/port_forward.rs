//! Port-forward over SPDY: a pair of streams, data and error, for each connection.
//!
//! Headers of a stream: `streamtype` (data, error), `port`, `requestid` (which pair).

use std::{collections::HashMap, io};

use simcluster_kubelet_api::Duplex;
use tokio::io::AsyncWriteExt;

use super::connection::{self, Outgoing, Stream};
use crate::Dial;

pub(crate) async fn serve<T: Duplex + 'static>(connection: T, dial: &Dial) -> io::Result<()> {
    let (mut streams, task) = connection::open(connection)?;
    let mut errors: HashMap<String, Outgoing> = HashMap::new();
    let mut waiting: HashMap<String, Stream> = HashMap::new();
    let mut forwards = futures::stream::FuturesUnordered::new();
    loop {
        let stream = tokio::select! {
            stream = streams.next() => stream,
            Some(()) = futures::StreamExt::next(&mut forwards), if !forwards.is_empty() => continue,
        };
        let Some(stream) = stream else { break };
        let request = stream.header("requestid").unwrap_or_default().to_owned();
        if stream.header("streamtype") == Some("error") {
            match waiting.remove(&request) {
                Some(data) => forwards.push(forward(data, stream.outgoing, dial)),
                None => drop(errors.insert(request, stream.outgoing)),
            }
        } else {
            match errors.remove(&request) {
                Some(error) => forwards.push(forward(stream, error, dial)),
                None => drop(waiting.insert(request, stream)),
            }
        }
    }
    task.abort();
    Ok(())
}

/// One connection into the pod; errors are told on the error stream.
async fn forward(data: Stream, error: Outgoing, dial: &Dial) {
    let told = match carry(data, dial).await {
        Ok(()) => Ok(()),
        Err(text) => error.send(text.as_bytes()).await,
    };
    // If the client has gone, there is nobody to tell.
    drop(told);
    drop(error.finish().await);
}

async fn carry(data: Stream, dial: &Dial) -> Result<(), String> {
    let port = data.header("port").unwrap_or_default().to_owned();
    let Stream {
        mut incoming,
        outgoing,
        ..
    } = data;
    let number: u16 = port
        .parse()
        .map_err(|_| format!("{port:?} is not a port"))?;
    let stream = match dial(number).await {
        Ok(stream) => stream,
        Err(error) => {
            drop(outgoing.finish().await);
            return Err(error.to_string());
        }
    };
    let (mut from_pod, mut to_pod) = tokio::io::split(stream);
    let input = async {
        while let Some(bytes) = incoming.next().await {
            if to_pod.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to_pod.shutdown().await);
    };
    let output = outgoing.send_all(&mut from_pod);
    let (sent, ()) = tokio::join!(output, input);
    sent.map_err(|error| error.to_string())
}
