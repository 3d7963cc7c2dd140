//! Makes an image ready to run and says where it is: `cargo run -p simcluster-images --example image -- mysql:5.7`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

use simcluster_images::{Event, ImageStore, StoreConfig};

#[tokio::main]
async fn main() -> Result<(), simcluster_images::ImageError> {
    let reference = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "busybox".to_owned());
    let store = ImageStore::open(StoreConfig::default())?;
    let started = std::time::Instant::now();
    let progress = |reference: &str, event: &Event| match event {
        Event::Step(step) => eprintln!(
            "{:6.1} s  {reference}: {step}",
            started.elapsed().as_secs_f32()
        ),
        Event::Bytes { .. } => {}
    };
    let image = store.ensure(&reference, &progress).await?;
    eprintln!(
        "{:6.1} s  {}",
        started.elapsed().as_secs_f32(),
        image.resolved
    );
    if let Some(sentence) = &image.substitution {
        eprintln!("          {sentence}");
    }
    for layer in &image.layers {
        println!("{}", layer.display());
    }
    Ok(())
}
