//! A MySQL client through a forwarded port: what a scenario uses to fill a database and to look at it.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use mysql_async::{Conn, OptsBuilder, Row, SslOpts, prelude::Queryable};

use crate::port_forward::PortForward;

/// Who connects to which database.
#[derive(Clone)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password, any bytes.
    pub password: String,
    /// Default schema.
    pub database: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of logs and panics.
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A statement or a connection that failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// No local port.
    #[error("could not open a local port to pod {pod}")]
    Forward {
        /// The pod.
        pod: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server did not let us in, or was not there.
    #[error("could not connect to MySQL in pod {pod} as {user}")]
    Connect {
        /// The pod.
        pod: String,
        /// The user.
        user: String,
        /// What the server said.
        #[source]
        source: mysql_async::Error,
    },
    /// The server refused a statement.
    #[error("MySQL refused: {statement}")]
    Statement {
        /// The statement.
        statement: String,
        /// What the server said.
        #[source]
        source: mysql_async::Error,
    },
}

impl SqlError {
    /// Whether the server refused the user or the password (MySQL error 1045 or 1698).
    pub fn is_access_denied(&self) -> bool {
        matches!(
            self,
            Self::Connect { source: mysql_async::Error::Server(error), .. }
                if error.code == 1045 || error.code == 1698
        )
    }
}

/// An open connection, with the forwarded port that carries it.
#[derive(Debug)]
pub struct Session {
    connection: Conn,
    _forward: PortForward,
}

impl Session {
    /// Connects to port 3306 of a pod.
    pub async fn open(pods: Api<Pod>, pod: &str, login: &Login) -> Result<Self, SqlError> {
        let forward =
            PortForward::open(pods, pod, 3306)
                .await
                .map_err(|source| SqlError::Forward {
                    pod: pod.to_owned(),
                    source,
                })?;
        // caching_sha2_password gives a password away only over TLS; the server's certificate is its
        // own, and the way to it is this process.
        let tls = SslOpts::default()
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true);
        let plain = OptsBuilder::default()
            .ip_or_hostname(forward.address().ip().to_string())
            .tcp_port(forward.address().port())
            .prefer_socket(false)
            .user(Some(login.user.clone()))
            .pass(Some(login.password.clone()))
            .db_name(login.database.clone());
        let connect = |source| SqlError::Connect {
            pod: pod.to_owned(),
            user: login.user.clone(),
            source,
        };
        let connection = match Conn::new(plain.clone().ssl_opts(tls)).await {
            // MariaDB 10.11 is not built with TLS by default.
            Err(mysql_async::Error::Driver(
                mysql_async::DriverError::NoClientSslFlagFromServer,
            )) => Conn::new(plain).await.map_err(connect)?,
            other => other.map_err(connect)?,
        };
        Ok(Self {
            connection,
            _forward: forward,
        })
    }

    /// Runs one statement.
    pub async fn execute(&mut self, statement: &str) -> Result<(), SqlError> {
        self.connection
            .query_drop(statement)
            .await
            .map_err(|source| refused(statement, source))
    }

    /// All rows of a query, each cell as text (`NULL` for null).
    pub async fn rows(&mut self, query: &str) -> Result<Vec<Vec<String>>, SqlError> {
        let rows: Vec<Row> = self
            .connection
            .query(query)
            .await
            .map_err(|source| refused(query, source))?;
        Ok(rows
            .into_iter()
            .map(|row| row.unwrap().iter().map(text).collect())
            .collect())
    }

    /// Says goodbye to the server.
    pub async fn close(self) -> Result<(), SqlError> {
        self.connection
            .disconnect()
            .await
            .map_err(|source| refused("(disconnect)", source))
    }
}

fn refused(statement: &str, source: mysql_async::Error) -> SqlError {
    SqlError::Statement {
        statement: statement.to_owned(),
        source,
    }
}

fn text(value: &mysql_async::Value) -> String {
    match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    }
}
