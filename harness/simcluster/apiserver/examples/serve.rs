//! An API server alone, over HTTPS, for trying it with kubectl: `--kubeconfig FILE [--port PORT]`.

use std::{error::Error, net::SocketAddr, path::PathBuf};

use simcluster_apiserver::{ApiServer, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut kubeconfig = PathBuf::from("kubeconfig");
    let mut port = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("each option has a value")?;
        match name.as_str() {
            "--kubeconfig" => kubeconfig = value.into(),
            "--port" => port = value.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let server = ApiServer::start(Config::default());
    let listening = server
        .listen(SocketAddr::from(([127, 0, 0, 1], port)))
        .await?;
    listening.write_kubeconfig(&kubeconfig)?;
    tracing::info!(address = %listening.address(), "serving");
    tokio::signal::ctrl_c().await?;
    server.shutdown();
    Ok(())
}
