//! Images assembled from the packages of the machine's distribution.
//!
//! No root, no daemon, nothing gets installed: apt works on a state of its own ([`tools`]) with the machine's own
//! package sources ([`archive`]), what it downloads is unpacked into a directory ([`tree`]), and databases get an
//! initialised data directory ([`template`]). Which image is made of what is a table ([`recipes`]).

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    ImageConfig, ImageError, Reference,
    apt::{
        archive::Machine,
        closure::Package,
        recipes::{Kind, Recipe, Suite},
        template::TemplateError,
        tools::{Apt, ToolError},
        tree::TreeError,
    },
    digest::Hasher,
    entrypoint,
    source::{Draft, Located, Reporter, Source},
    store::{Layer, LayerFacts, Workspace},
};

mod archive;
mod closure;
mod recipes;
mod template;
mod tools;
mod tree;

pub(crate) use recipes::{Flavour, names_version};

/// Changes when trees are made in another way, so that those in caches are made anew.
const FORMAT: &str = "packages 2";
/// Programs that this source runs.
const TOOLS: [&str; 3] = ["apt-get", "apt-cache", "dpkg-deb"];

/// Where the programs of an image are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How a registry serves: as the official image does, on port 5000, without asking who is there.
const REGISTRY_FILE: &str = "etc/docker/registry/config.yml";
const REGISTRY_SETTINGS: &str = "\
version: 0.1
log: {fields: {service: registry}}
storage:
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  filesystem: {rootdirectory: /var/lib/registry}
http:
  addr: :5000
";

/// The source.
#[derive(Debug)]
pub(crate) struct Packages {
    /// Where apt's lists are kept.
    state: PathBuf,
    machine: OnceLock<Result<Machine, String>>,
}

/// Why packages did not become an image.
#[derive(Debug, thiserror::Error)]
enum AssembleError {
    #[error("{0}")]
    NoArchive(String),
    #[error("{0}. Is the package archive reachable from here? apt's own proxy settings apply")]
    Tool(ToolError),
    #[error("{0}")]
    Tree(TreeError),
    #[error("the data directory cannot be initialised: {0}")]
    Template(TemplateError),
    #[error("{0}")]
    NoPackage(String),
    #[error(transparent)]
    Image(ImageError),
    #[error("cancelled")]
    Cancelled,
}

impl Packages {
    /// With the package sources of this machine; they are read when first needed.
    pub(crate) fn of_this_machine(state: PathBuf) -> Self {
        Self {
            state,
            machine: OnceLock::new(),
        }
    }

    fn machine(&self) -> Result<&Machine, String> {
        self.machine
            .get_or_init(|| {
                let missing: Vec<_> = TOOLS.into_iter().filter(|tool| !is_program(tool)).collect();
                if missing.is_empty() {
                    archive::read(Path::new("/"))
                } else {
                    Err(format!("{} not found", missing.join(", ")))
                }
            })
            .as_ref()
            .map_err(|reason| {
                format!(
                    "{reason}; images are assembled from packages on Debian, Ubuntu and their derivatives; elsewhere \
                     import an OCI archive or the output of `docker save`"
                )
            })
    }

    fn key(recipe: &Recipe, machine: &Machine) -> Hasher {
        Hasher::default()
            .part(FORMAT)
            .part(format!("{recipe:?}"))
            .part(&machine.distribution.id)
            .part(&machine.distribution.codename)
            .part(std::env::consts::ARCH)
    }
}

impl Source for Packages {
    fn name(&self) -> &'static str {
        "distribution packages"
    }

    fn locate(&self, reference: &Reference) -> Result<Located, String> {
        let recipe = recipes::find(reference).ok_or_else(|| {
            format!(
                "only {} can be assembled from packages",
                recipes::products()
            )
        })?;
        if let Some(digest) = reference.digest() {
            return Err(format!(
                "what is assembled from packages cannot have the digest {digest}: leave it out"
            ));
        }
        let mut key = Self::key(recipe, self.machine()?);
        if let Kind::Database(flavour) = recipe.kind {
            key = key.part(entrypoint::digest(flavour)).part(template::FORMAT);
        }
        Ok(Located { key: key.hex() })
    }

    fn assemble(
        &self,
        reference: &Reference,
        workspace: &Workspace,
        reporter: &dyn Reporter,
    ) -> Result<Draft, ImageError> {
        let failed = |problem: AssembleError| match problem {
            AssembleError::Cancelled => ImageError::Cancelled {
                reference: reference.to_string(),
            },
            AssembleError::Image(error) => error,
            problem => ImageError::Assemble {
                reference: reference.to_string(),
                from: self.name(),
                problem: problem.to_string(),
            },
        };
        let no_archive = |reason| failed(AssembleError::NoArchive(reason));
        let recipe = recipes::find(reference)
            .ok_or_else(|| no_archive(format!("no recipe for {reference}")))?;
        let machine = self.machine().map_err(no_archive)?;
        let assembly = Assembly {
            recipe,
            machine,
            state: &self.state,
            workspace,
            reporter,
        };
        assembly.run().map_err(failed)
    }

    fn adapt(&self, reference: &Reference, made: &Draft) -> (ImageConfig, Option<String>) {
        let (Some(tag), Some(version)) = (reference.tag(), made.version.as_deref()) else {
            return (made.config.clone(), None);
        };
        let config = entrypoint::config_for_tag(made.config.clone(), tag, version);
        let substitution = (!names_version(tag, version)).then(|| {
            let resolved = made.resolved.as_deref().unwrap_or(version);
            format!("{resolved} stands in for {reference}: no source of images here has the version asked for")
        });
        (config, substitution)
    }
}

/// One image being made.
struct Assembly<'a> {
    recipe: &'static Recipe,
    machine: &'a Machine,
    state: &'a Path,
    workspace: &'a Workspace,
    reporter: &'a dyn Reporter,
}

/// Packages of one suite that make an image.
struct Selection {
    apt: Apt,
    packages: Vec<Package>,
    program: Package,
}

impl Assembly<'_> {
    fn run(&self) -> Result<Draft, AssembleError> {
        let key = Packages::key(self.recipe, self.machine);
        let tree = self
            .workspace
            .layer(&key.clone().part("tree").hex(), |root| {
                self.tree(root).map_err(|error| self.image_error(error))
            })?;
        let mut layers = vec![tree];
        let (program, package_version) = program(&layers[0])?;
        let version = closure::upstream(&package_version).to_owned();
        let config = match self.recipe.kind {
            Kind::BusyBox => ImageConfig {
                cmd: vec!["sh".to_owned()],
                env: vec![PATH.to_owned()],
                ..ImageConfig::default()
            },
            Kind::Registry => ImageConfig {
                entrypoint: ["docker-registry", "serve"].map(str::to_owned).to_vec(),
                cmd: vec![format!("/{REGISTRY_FILE}")],
                env: vec![PATH.to_owned()],
                ..ImageConfig::default()
            },
            Kind::Database(flavour) => {
                layers.push(self.template(flavour, &layers[0], key)?);
                layers.push(self.entrypoint(flavour)?);
                entrypoint::config(flavour, &version)
            }
        };
        Ok(Draft {
            resolved: Some(format!(
                "{}:{version} ({} {program} {package_version})",
                self.recipe.product, self.machine.distribution.name
            )),
            version: Some(version),
            layers,
            config,
        })
    }

    /// The packages' own tree.
    fn tree(&self, root: &Path) -> Result<LayerFacts, AssembleError> {
        let selection = self.select()?;
        let scratch = self.workspace.scratch().map_err(AssembleError::Image)?;
        let packages = &selection.packages;
        self.step(&format!("downloading {} packages", packages.len()))?;
        selection
            .apt
            .download(packages, scratch.path(), self.reporter)
            .map_err(AssembleError::from)?;
        self.step(&format!("unpacking {} packages", packages.len()))?;
        tree::foundation(root)?;
        tree::unpack_all(scratch.path(), root, self.reporter)?;
        match self.recipe.kind {
            Kind::BusyBox => self.applets(root)?,
            Kind::Database(_) => tree::link(root, "usr/bin/sh", "bash")?,
            Kind::Registry => {
                tree::directory(root, "var/lib/registry", 0o1777)?;
                tree::file(root, REGISTRY_FILE, REGISTRY_SETTINGS.as_bytes(), 0o644)?;
            }
        }
        let digest = packages
            .iter()
            .fold(Hasher::default().part(FORMAT), |hasher, package| {
                hasher.part(package.exact()).part(&package.checksum)
            })
            .hex();
        // The program first: it gives the image its version.
        let others = packages
            .iter()
            .filter(|package| **package != selection.program);
        let names = std::iter::once(&selection.program)
            .chain(others)
            .map(Package::exact)
            .collect();
        Ok(LayerFacts {
            digest,
            packages: names,
        })
    }

    /// The first suite that has what the recipe needs.
    fn select(&self) -> Result<Selection, AssembleError> {
        let mut reasons = Vec::new();
        for suite in self.recipe.suites {
            let stanzas = match self.machine.stanzas_for(*suite) {
                Ok(stanzas) => stanzas,
                Err(reason) => {
                    reasons.push(reason);
                    continue;
                }
            };
            let name = match suite {
                Suite::Machine => &self.machine.distribution.codename,
                Suite::Other { name, .. } => *name,
            };
            self.step(&format!(
                "reading the package lists of {} {name}",
                self.machine.distribution.name
            ))?;
            let apt = Apt::new(self.state.join(name), &stanzas, self.reporter)?;
            apt.update(self.reporter)?;
            match self.select_from(apt)? {
                Ok(selection) => return Ok(selection),
                Err(missing) => reasons.push(format!(
                    "{} {name} has no {missing}",
                    self.machine.distribution.name
                )),
            }
        }
        Err(AssembleError::NoPackage(reasons.join("; ")))
    }

    /// What the recipe needs out of one suite, or the name of what the suite does not have.
    fn select_from(&self, apt: Apt) -> Result<Result<Selection, &'static str>, AssembleError> {
        let all = apt.names(self.reporter)?;
        let all: Vec<_> = all.lines().collect();
        let mut names = Vec::new();
        for choice in std::iter::once(&self.recipe.program)
            .chain(self.recipe.packages.iter().copied().flatten())
        {
            match closure::choose(choice, &all) {
                Some(name) => names.push(name),
                None => return Ok(Err(choice[0])),
            }
        }
        let alone: Vec<_> = self
            .recipe
            .alone
            .iter()
            .filter(|name| all.contains(name))
            .copied()
            .collect();
        let mut packages = apt.closure(&names, &alone, self.reporter)?;
        packages.retain(|package| {
            names.contains(&package.name) || !self.recipe.leaves_out(&package.name)
        });
        if self.recipe.kind == Kind::BusyBox {
            packages.retain(|package| names.contains(&package.name));
        }
        let Some(program) = packages
            .iter()
            .find(|package| package.name == names[0])
            .cloned()
        else {
            return Ok(Err(self.recipe.program[0]));
        };
        Ok(Ok(Selection {
            apt,
            packages,
            program,
        }))
    }

    /// The names that busybox goes by.
    fn applets(&self, root: &Path) -> Result<(), AssembleError> {
        let busybox = root.join("usr/bin/busybox");
        let mut command = tools::mortal(&busybox);
        command.arg("--list-full");
        let list = tools::run_program("busybox", command, self.reporter)?;
        for applet in list.lines() {
            // Merged systems have everything below usr.
            let place = if applet.starts_with("usr/") {
                applet.to_owned()
            } else {
                format!("usr/{applet}")
            };
            if place != "usr/bin/busybox" {
                tree::link(root, &place, "/bin/busybox")?;
            }
        }
        Ok(())
    }

    fn template(
        &self,
        flavour: Flavour,
        tree: &Layer,
        key: Hasher,
    ) -> Result<Layer, AssembleError> {
        let options = entrypoint::template_options(flavour);
        let made_of = key
            .part(template::FORMAT)
            .part(&tree.facts.digest)
            .parts(options);
        let key = made_of.clone().hex();
        self.workspace
            .layer(&key, |root| {
                let scratch = self.workspace.scratch()?;
                self.reporter.step("initialising a data directory")?;
                template::make(
                    flavour,
                    &self.workspace.root(tree),
                    root,
                    scratch.path(),
                    self.reporter,
                )
                .map_err(|error| self.image_error(error.into()))?;
                Ok(LayerFacts {
                    digest: made_of.hex(),
                    packages: Vec::new(),
                })
            })
            .map_err(AssembleError::Image)
    }

    fn entrypoint(&self, flavour: Flavour) -> Result<Layer, AssembleError> {
        let key = Hasher::default()
            .part("entrypoint 1")
            .part(entrypoint::digest(flavour))
            .hex();
        self.workspace
            .layer(&key, |root| {
                let make = || -> Result<(), TreeError> {
                    for (path, mode) in entrypoint::directories(flavour) {
                        tree::directory(root, path, *mode)?;
                    }
                    for file in entrypoint::files(flavour) {
                        tree::file(root, file.path, file.text.as_bytes(), file.mode)?;
                    }
                    Ok(())
                };
                make().map_err(|error| self.image_error(error.into()))?;
                Ok(LayerFacts {
                    digest: key.clone(),
                    packages: Vec::new(),
                })
            })
            .map_err(AssembleError::Image)
    }

    fn step(&self, text: &str) -> Result<(), AssembleError> {
        self.reporter.step(text).map_err(AssembleError::Image)
    }

    /// Carries an error through the workspace, which knows only images' errors.
    fn image_error(&self, error: AssembleError) -> ImageError {
        match error {
            AssembleError::Image(error) => error,
            AssembleError::Cancelled => ImageError::Cancelled {
                reference: self.recipe.product.to_owned(),
            },
            error => ImageError::Assemble {
                reference: self.recipe.product.to_owned(),
                from: "distribution packages",
                problem: error.to_string(),
            },
        }
    }
}

/// Name and version of the package that the image is about.
fn program(tree: &Layer) -> Result<(String, String), AssembleError> {
    let exact = tree
        .facts
        .packages
        .first()
        .and_then(|exact| exact.split_once('='));
    exact
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .ok_or_else(|| AssembleError::NoPackage("the cached packages have no version".to_owned()))
}

impl From<ToolError> for AssembleError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Cancelled => Self::Cancelled,
            error => Self::Tool(error),
        }
    }
}

impl From<TreeError> for AssembleError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Cancelled => Self::Cancelled,
            error => Self::Tree(error),
        }
    }
}

impl From<TemplateError> for AssembleError {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Run(ToolError::Cancelled) => Self::Cancelled,
            error => Self::Template(error),
        }
    }
}

impl From<ImageError> for AssembleError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// Whether there is a program of this name on the path.
fn is_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}
