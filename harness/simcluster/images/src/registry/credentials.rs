//! What a registry wants to know of who asks, from the files that `docker login` and `podman login` write.
//!
//! Helper programs that those files name are asked too. No password is ever printed.

use std::{
    env,
    ffi::OsString,
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;

use crate::login::Login;

/// What Docker calls its own registry in these files.
const DOCKER_HUB: [&str; 3] = [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
];

/// Who asks.
pub(super) struct Credentials {
    auth: RegistryAuth,
    /// Why it is nobody in particular, where somebody was meant.
    problem: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password is not shown by the client's own type either.
        f.debug_struct("Credentials")
            .field("auth", &self.auth)
            .field("problem", &self.problem)
            .finish()
    }
}

impl Credentials {
    pub(super) fn auth(&self) -> &RegistryAuth {
        &self.auth
    }

    pub(super) fn is_nobody(&self) -> bool {
        matches!(self.auth, RegistryAuth::Anonymous)
    }

    /// What to add when the registry refuses.
    pub(super) fn note(&self) -> Option<String> {
        match (&self.auth, &self.problem) {
            (_, Some(problem)) => Some(problem.clone()),
            (RegistryAuth::Anonymous, None) => Some(
                "it was asked without credentials: `docker login` writes some, if it wants them"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<Login> for Credentials {
    fn from(login: Login) -> Self {
        Self {
            auth: RegistryAuth::Basic(login.name, login.password),
            problem: None,
        }
    }
}

/// Where this user's credentials may be, first the file that counts most.
pub(super) fn files_of_this_user() -> Vec<PathBuf> {
    files(|name| env::var_os(name))
}

fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let below = |name: &str, rest: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(rest))
    };
    [
        variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
        below("DOCKER_CONFIG", "config.json").or_else(|| below("HOME", ".docker/config.json")),
        below("XDG_RUNTIME_DIR", "containers/auth.json"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credentials for a registry in these files; nobody in particular if there are none.
pub(super) fn find(files: &[PathBuf], registry: &str) -> Credentials {
    let mut problem = None;
    for file in files.iter().filter(|file| file.is_file()) {
        for server in servers(registry) {
            match read(file, &server) {
                Ok(Some(auth)) => {
                    return Credentials {
                        auth,
                        problem: None,
                    };
                }
                Ok(None) => {}
                Err(why) => {
                    problem.get_or_insert(why);
                }
            }
        }
    }
    Credentials {
        auth: RegistryAuth::Anonymous,
        problem,
    }
}

/// What a registry may be called in such a file.
fn servers(registry: &str) -> Vec<String> {
    if registry == "docker.io" {
        return DOCKER_HUB.map(str::to_owned).to_vec();
    }
    vec![registry.to_owned(), format!("https://{registry}")]
}

fn read(file: &Path, server: &str) -> Result<Option<RegistryAuth>, String> {
    let opened = File::open(file).map_err(|error| {
        format!(
            "the credentials in {} cannot be read: {error}",
            file.display()
        )
    })?;
    let found = get_credential_from_reader(std::io::BufReader::new(opened), server);
    match found {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(Some(RegistryAuth::Basic(name, password)))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(RegistryAuth::Bearer(token))),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // That is how helpers say that they have none.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. })
            if stdout.contains("credentials not found") =>
        {
            Ok(None)
        }
        // The helper's output is not told: it may be what must not be told.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => Err(format!(
            "the credential helper {helper}, named in {}, failed",
            file.display()
        )),
        Err(error) => Err(format!(
            "the credentials for {server} in {} cannot be used: {error}",
            file.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(text: &str, registry: &str) -> Credentials {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("config.json");
        fs::write(&file, text).expect("it is writable");
        find(&[dir.path().join("absent"), file], registry)
    }

    /// `user:secret`
    const AUTHS: &str = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
        "registry.example:5000": {"auth": "dXNlcjpzZWNyZXQ="},
        "broken.example": {"auth": "!"}}}"#;

    #[test]
    fn what_docker_login_wrote_is_used_for_its_registry_only() {
        let user = RegistryAuth::Basic("user".to_owned(), "secret".to_owned());
        assert_eq!(*found(AUTHS, "docker.io").auth(), user);
        assert_eq!(*found(AUTHS, "registry.example:5000").auth(), user);
        assert_eq!(
            *found(AUTHS, "registry.example").auth(),
            RegistryAuth::Anonymous
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_secret() {
        let broken = found(AUTHS, "broken.example");
        assert_eq!(*broken.auth(), RegistryAuth::Anonymous);
        let note = broken.note().expect("it says so");
        assert!(note.contains("for broken.example in"), "{note}");
        let user = found(AUTHS, "docker.io");
        assert!(!format!("{user:?}").contains("secret"), "{user:?}");
    }

    #[test]
    fn the_places_are_the_usual_ones() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ann".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            _ => None,
        };
        assert_eq!(
            files(variable),
            [
                Path::new("/home/ann/.docker/config.json"),
                Path::new("/run/user/7/containers/auth.json")
            ]
        );
    }
}
