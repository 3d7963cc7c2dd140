//! What wakes the operator up: the resources themselves and everything that carries our label.
//!
//! Secrets are not watched: the right to read all of a cluster's Secrets is not worth it. It decides
//! nothing; any event of an instance leads to the same reconcile.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use kube::runtime::controller::{Action, applier};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{self, ObjectRef, Store, reflector};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::cache::{self, Cache};
use crate::controller::{self, Context};
use crate::crd::MySQL;
use crate::http;
use crate::lease::Elector;
use crate::metrics::Metrics;
use crate::names;
use crate::settings::Settings;
use crate::telemetry::chain;

/// How long reconciles under way may go on when the operator is told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// How often to ask whether the resource definition has been installed.
const DEFINITION_POLL: Duration = Duration::from_millis(500);
/// How many instances are worked on at the same time.
const CONCURRENCY: u16 = 32;

/// The operator cannot work, or not any more.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refuses what nothing works without.
    #[error(
        "the API server does not let the operator list MySQL resources; give it the role in deploy/role.yml"
    )]
    Forbidden(#[source] Box<kube::Error>),
    /// Another operator may be working by now.
    #[error("the Lease could not be kept; this operator ends before another one begins")]
    LeaseLost,
    /// The address is taken, or not one of this machine.
    #[error("cannot serve /healthz and /metrics at {address}; choose another address")]
    Http {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the operator until `shutdown`; deletions under way are then brought to their end, within
/// [`Settings::shutdown_grace`].
pub async fn run(
    client: Client,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let metrics = Metrics::default();
    let _serving = match settings.http {
        Some(address) => Some(
            http::start(address, metrics.clone())
                .await
                .map_err(|source| Error::Http { address, source })?,
        ),
        None => None,
    };
    let Some(election) = &settings.election else {
        return lead(&client, &settings, metrics, shutdown).await;
    };
    let elector = Elector::new(&client, election);
    if !elector.acquire(&shutdown).await {
        // It may have got it in the very moment in which it was told to stop.
        elector.release().await;
        return Ok(());
    }
    tokio::select! {
        // Dropping the work in the middle is as safe as a crash: every step can be repeated.
        () = elector.hold() => Err(Error::LeaseLost),
        done = lead(&client, &settings, metrics, shutdown) => {
            elector.release().await;
            done
        }
    }
}

/// Works, as the only operator.
async fn lead(
    client: &Client,
    settings: &Settings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let resources: Api<MySQL> = cache::api(client, settings);
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        found = definition(&resources) => found?,
    }
    let (store, writer) = reflector::store();
    let changes = watcher(resources, watcher::Config::default()).default_backoff();
    let own = reflector(writer, changes)
        .touched_objects()
        .map_ok(|resource| ObjectRef::from_obj(&resource));
    metrics.watch(store.clone());
    let (cache, events) = Cache::follow(client, settings);
    let context = Arc::new(Context::new(
        client,
        reporter(),
        cache,
        settings.clone(),
        metrics,
    ));
    let stopping = CancellationToken::new();
    let stop = {
        let (stopping, store, grace) = (stopping.clone(), store.clone(), settings.shutdown_grace);
        async move {
            stop(shutdown, store, grace).await;
            stopping.cancel();
        }
    };
    let work = applier(
        reconcile,
        controller::on_error,
        context,
        store,
        stream::select(own.boxed(), events).take_until(Box::pin(stop)),
        kube::runtime::controller::Config::default().concurrency(CONCURRENCY),
    )
    .for_each(|result| {
        if let Err(error) = result {
            log(&error);
        }
        std::future::ready(())
    });
    tokio::select! {
        () = work => {}
        // The runtime would also wait for reconciles that are only due later. Dropping one in the middle
        // is as safe as a crash: every step can be repeated.
        () = async {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        } => {}
    }
    Ok(())
}

/// A reconcile as a task of its own, so that many can run at once; it ends with whoever waits for it.
fn reconcile(
    trigger: Arc<MySQL>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, controller::Error>> {
    let instance = trigger.name_any();
    let task = tokio::spawn(controller::reconcile(trigger, context).in_current_span());
    let task = AbortOnDropHandle::new(task);
    async move {
        match task.await {
            Ok(outcome) => outcome,
            // The task is not ended while it is waited for, so it panicked; so do we.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => {
                    tracing::error!(%instance, %error, "a reconcile was ended from outside");
                    Ok(Action::requeue(DEFINITION_POLL))
                }
            },
        }
    }
    .boxed()
}

fn reporter() -> Reporter {
    Reporter {
        controller: names::MANAGER.to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    }
}

/// Waits until the definition is installed: an operator that comes first is no error.
async fn definition(resources: &Api<MySQL>) -> Result<(), Error> {
    let mut told = false;
    loop {
        match resources.list(&ListParams::default().limit(1)).await {
            Ok(_) => return Ok(()),
            Err(error @ kube::Error::Api(_)) if code(&error) == 403 => {
                return Err(Error::Forbidden(Box::new(error)));
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(error = %chain(&error), "waiting for the MySQL definition");
                }
            }
        }
        tokio::time::sleep(DEFINITION_POLL).await;
    }
}

fn code(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error {
        status.code
    } else {
        0
    }
}

/// Ends when the operator shall stop. Removed together with the resources it serves, it would otherwise
/// leave them waiting for a finalizer that nobody takes off.
async fn stop(shutdown: CancellationToken, store: Store<MySQL>, grace: Duration) {
    shutdown.cancelled().await;
    let going = || {
        let resources = store.state();
        let going = resources.iter().filter(|resource| {
            let ours = |name: &String| name == names::FINALIZER;
            resource.metadata.deletion_timestamp.is_some() && resource.finalizers().iter().any(ours)
        });
        going.count()
    };
    let deadline = tokio::time::Instant::now() + grace;
    tracing::info!(
        deletions = going(),
        ?grace,
        "told to stop; deletions under way are finished first"
    );
    while tokio::time::Instant::now() < deadline && going() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let left = going();
    if left > 0 {
        tracing::warn!(
            deletions = left,
            "stops before these are finished; the next operator goes on with them"
        );
    }
}

fn log<R, Q>(error: &kube::runtime::controller::Error<R, Q>)
where
    R: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    match error {
        // Told by the error policy, once.
        kube::runtime::controller::Error::ReconcilerFailed(..)
        // The resource has gone; its objects may still say something.
        | kube::runtime::controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %chain(other), "watching"),
    }
}
