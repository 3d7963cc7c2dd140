//! The one entrance: a reference goes in, an image that is ready to run comes out.
//!
//! It decides which source answers and who of several processes does the work. How an image is made is
//! the sources' business, where it lies on disk is [`cache`]'s.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    Archived, Image, ImageError, LocalImage, Logins, Progress, Reference, Tried,
    apt::Packages,
    engine::Engine,
    error,
    local::Registered,
    oci::{self, Archives, Imported},
    progress::Event,
    registry::Registries,
    source::{Draft, Located, Newest, Order, Reporter, Source},
    store::cache::Record,
};

mod cache;
mod place;
mod workspace;

pub(crate) use cache::Cache;
pub use cache::CachedImage;
pub(crate) use workspace::{Layer, LayerFacts, Workspace};

/// Unless told otherwise, images that nobody uses go when the cache is larger than this.
const DEFAULT_SIZE_LIMIT: u64 = 8 << 30;

/// Names the sources that are asked by default.
const SOURCES: &str = "SIMCLUSTER_IMAGE_SOURCES";

/// An image that is there but cannot be had right now is looked at again after this.
const RETRY: std::time::Duration = std::time::Duration::from_millis(5);

/// Where images are kept and where they may come from.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The cache; `None` means `$SIMCLUSTER_CACHE`, else `$XDG_CACHE_HOME/simcluster`, else
    /// `~/.cache/simcluster`, else a directory of this user's own among the temporary files.
    pub cache_dir: Option<PathBuf>,
    /// OCI layout directories and image archives that offer what is in them.
    pub archives: Vec<PathBuf>,
    /// Whether images may be pulled from registries.
    pub registries: bool,
    /// Registries, `host` or `host:port`, to be asked over plain HTTP; those on this machine always are.
    pub insecure_registries: Vec<String>,
    /// Whether the local Docker engine may be asked for images that it has.
    pub engine: bool,
    /// Whether images may be assembled from the distribution's packages.
    pub packages: bool,
    /// Bytes; above it, images that nobody uses are removed, least recently used first.
    pub size_limit: Option<u64>,
}

/// How an image is to be had.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Ask the registry what the name means now, whatever is in the cache. A registry that cannot be reached leaves
    /// it at that.
    pub look_again: bool,
    /// For registries, before this user's own.
    pub logins: Vec<Logins>,
}

/// All sources, unless `$SIMCLUSTER_IMAGE_SOURCES` names those to be asked besides archives: any of `registries`,
/// `engine` and `packages`, with commas between them.
impl Default for StoreConfig {
    fn default() -> Self {
        let named = std::env::var(SOURCES).ok();
        let asked = |source: &str| {
            let named = named.as_deref();
            named.is_none_or(|named| named.split(',').any(|one| one.trim() == source))
        };
        Self {
            cache_dir: None,
            archives: Vec::new(),
            registries: asked("registries"),
            insecure_registries: Vec::new(),
            engine: asked("engine"),
            packages: asked("packages"),
            size_limit: Some(DEFAULT_SIZE_LIMIT),
        }
    }
}

/// Makes images ready to run, and keeps them. Clones share everything.
///
/// Several processes may use one cache. An image obtained from a store stays on disk as long as the store
/// or a clone of it lives.
#[derive(Clone, Debug)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cache: Cache,
    size_limit: Option<u64>,
    registered: Registered,
    archives: Archives,
    sources: Vec<Box<dyn Source>>,
    /// Shared locks on the images in use, by key: they keep others from removing them.
    leases: Mutex<HashMap<String, File>>,
}

impl ImageStore {
    /// Opens the cache, and makes it if it is not there. Removes what a killed process left half-made.
    pub fn open(config: StoreConfig) -> Result<Self, ImageError> {
        let cache = Cache::open(place::cache_dir(config.cache_dir)?)?;
        let registered = Registered::default();
        let archives = Archives::new(config.archives);
        let mut sources: Vec<Box<dyn Source>> = vec![
            Box::new(registered.clone()),
            Box::new(Imported::new(cache.clone())),
            Box::new(archives.clone()),
        ];
        if config.registries {
            let registries = Registries::new(cache.clone(), config.insecure_registries);
            sources.push(Box::new(registries));
        }
        if config.engine {
            sources.push(Box::new(Engine::of_this_user()));
        }
        if config.packages {
            sources.push(Box::new(Packages::of_this_machine(cache.package_state())));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                cache,
                size_limit: config.size_limit,
                registered,
                archives,
                sources,
                leases: Mutex::default(),
            }),
        })
    }

    /// Where the cache is.
    pub fn cache_dir(&self) -> &Path {
        self.inner.cache.root()
    }

    /// Offers an image made of files under a name, to this store only. The newest registration of a name wins.
    pub fn register(&self, image: LocalImage) -> Result<(), ImageError> {
        self.inner.registered.add(image)
    }

    /// Offers what is in an OCI layout or image archive, to this store only and from where it is. The newest
    /// offer of a name wins.
    pub fn offer_archive(&self, path: &Path) -> Result<Vec<Archived>, ImageError> {
        self.inner.archives.add(path)
    }

    /// The image of this name, from the cache or made now. When the future is dropped, the work ends soon.
    pub async fn ensure(
        &self,
        reference: &str,
        progress: &dyn Progress,
    ) -> Result<Image, ImageError> {
        self.ensure_with(reference, PullOptions::default(), progress)
            .await
    }

    /// As [`ImageStore::ensure`], in the way that the options say.
    pub async fn ensure_with(
        &self,
        reference: &str,
        options: PullOptions,
        progress: &dyn Progress,
    ) -> Result<Image, ImageError> {
        let (sender, mut receiver) = unbounded_channel();
        let inner = Arc::clone(&self.inner);
        let asked = reference.to_owned();
        let reporter = Channel {
            reference: asked.clone(),
            sender,
        };
        let work = tokio::task::spawn_blocking(move || inner.obtain(&asked, &options, &reporter));
        while let Some(event) = receiver.recv().await {
            progress.report(reference, &event);
        }
        match work.await {
            Ok(image) => image,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(ImageError::Cancelled {
                reference: reference.to_owned(),
            }),
        }
    }

    /// The images in the cache, by name.
    pub fn list(&self) -> Result<Vec<CachedImage>, ImageError> {
        self.inner.cache.list()
    }

    /// Takes a name from its image, and removes the image when it was the last one. Fails while any process
    /// uses it. Answers whether there was such a name.
    pub fn remove(&self, reference: &str) -> Result<bool, ImageError> {
        self.inner.cache.remove(&parse(reference)?)
    }

    /// Removes images that nobody uses, least recently used first, until the cache has at most `limit`
    /// bytes. Answers the names that went.
    pub fn prune(&self, limit: u64) -> Result<Vec<String>, ImageError> {
        self.inner.cache.prune(limit)
    }

    /// Takes all images of an OCI layout or archive (plain or gzip) into the cache, under `name` if given and if
    /// there is only one. It blocks while it unpacks.
    pub fn import(&self, path: &Path, name: Option<&str>) -> Result<Vec<Archived>, ImageError> {
        let name = name.map(parse).transpose()?;
        oci::import(path, name.as_ref(), &self.inner.cache)
    }

    /// Writes an image as an archive that `docker load` and any OCI tool read. It blocks while it writes.
    pub fn export(image: &Image, path: &Path) -> Result<(), ImageError> {
        oci::export(image, path)
    }
}

impl Inner {
    fn obtain(
        &self,
        asked: &str,
        options: &PullOptions,
        reporter: &dyn Reporter,
    ) -> Result<Image, ImageError> {
        let reference = parse(asked)?;
        let mut tried = Vec::new();
        for source in &self.sources {
            let reason = match source.locate(&reference) {
                Err(reason) => reason,
                Ok(located) => {
                    let obtained = order(source.as_ref(), located, &reference, options, reporter)
                        .and_then(|(located, order)| {
                            self.obtain_from(
                                source.as_ref(),
                                &located,
                                &order,
                                &reference,
                                reporter,
                            )
                        });
                    match obtained {
                        Ok(record) => {
                            return Ok(self.image(
                                asked,
                                &reference,
                                source.as_ref(),
                                &record.draft,
                            ));
                        }
                        Err(cancelled @ ImageError::Cancelled { .. }) => return Err(cancelled),
                        Err(error) => error::with_causes(&error),
                    }
                }
            };
            tried.push(Tried {
                source: source.name(),
                reason,
            });
        }
        Err(ImageError::NotFound {
            reference: asked.to_owned(),
            tried,
        })
    }

    fn obtain_from(
        &self,
        source: &dyn Source,
        located: &Located,
        order: &Order<'_>,
        reference: &Reference,
        reporter: &dyn Reporter,
    ) -> Result<Record, ImageError> {
        let key = &located.key;
        loop {
            if let Some(record) = self.lease(key, reference)? {
                return Ok(record);
            }
            // A lease on an image that somebody removed by hand keeps nothing.
            self.leases().remove(key);

            if let Some(_only_we) = self.cache.claim(key, reporter)? {
                let nobody_removes = self.cache.writing()?;
                let workspace = Workspace::new(&self.cache);
                let draft = source.assemble_for(reference, order, &workspace, reporter)?;
                self.cache.keep(key, source.name(), draft)?;
                // Before anybody prunes, we ourselves included: an image larger than the limit may be used.
                let made = self.lease(key, reference)?;
                drop(nobody_removes);
                if let Some(limit) = self.size_limit {
                    self.cache.prune(limit)?;
                }
                if let Some(record) = made {
                    return Ok(record);
                }
            } else if reporter.is_cancelled() {
                return Err(ImageError::Cancelled {
                    reference: reference.to_string(),
                });
            } else {
                // Made meanwhile, or somebody is just about to remove it.
                std::thread::sleep(RETRY);
            }
        }
    }

    /// The finished image, which from now on nobody removes; `None` if there is none.
    fn lease(&self, key: &str, reference: &Reference) -> Result<Option<Record>, ImageError> {
        let Some(lease) = self.cache.share(key)? else {
            return Ok(None);
        };
        let record = self.cache.record(key)?;
        if record.is_some() {
            self.cache.used(key, reference)?;
            self.leases().insert(key.to_owned(), lease);
        }
        Ok(record)
    }

    fn image(
        &self,
        asked: &str,
        reference: &Reference,
        source: &dyn Source,
        draft: &Draft,
    ) -> Image {
        let (config, substitution) = source.adapt(reference, draft);
        Image {
            reference: asked.to_owned(),
            resolved: draft.resolved.clone().unwrap_or_else(|| asked.to_owned()),
            digest: draft.digest(),
            layers: draft
                .layers
                .iter()
                .map(|layer| self.cache.layer_root(&layer.key))
                .collect(),
            config,
            substitution,
        }
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, HashMap<String, File>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be had from a source, and what it is told for that.
fn order<'a>(
    source: &dyn Source,
    located: Located,
    reference: &Reference,
    options: &'a PullOptions,
    reporter: &dyn Reporter,
) -> Result<(Located, Order<'a>), ImageError> {
    let logins = options.logins.as_slice();
    let newest = if options.look_again {
        source.look_again(reference, logins, reporter)?
    } else {
        None
    };
    let (located, digest) = match newest {
        Some(Newest { located, digest }) => (located, Some(digest)),
        None => (located, None),
    };
    Ok((located, Order { logins, digest }))
}

/// Parses what somebody asked for.
fn parse(asked: &str) -> Result<Reference, ImageError> {
    asked
        .parse()
        .map_err(|source| ImageError::InvalidReference {
            reference: asked.to_owned(),
            source,
        })
}

/// Carries events from the working thread to the caller's future; closed when that is dropped.
struct Channel {
    reference: String,
    sender: UnboundedSender<Event>,
}

impl Reporter for Channel {
    fn report(&self, event: Event) -> Result<(), ImageError> {
        self.sender.send(event).map_err(|_| ImageError::Cancelled {
            reference: self.reference.clone(),
        })
    }

    fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
    }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
