//! How a long image operation tells what it does. It draws nothing: the caller does.

/// What happens right now to one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new step begins; the text fits one line: `downloading 61 packages`.
    Step(String),
    /// The step under way has moved so far.
    Bytes {
        /// Bytes done.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
}

/// Someone who wants to know. Called from any thread, and must not block for long.
pub trait Progress: Send + Sync {
    /// `event` happens to the image `reference`.
    fn report(&self, reference: &str, event: &Event);
}

/// Nobody wants to know.
impl Progress for () {
    fn report(&self, _reference: &str, _event: &Event) {}
}

impl<F: Fn(&str, &Event) + Send + Sync> Progress for F {
    fn report(&self, reference: &str, event: &Event) {
        self(reference, event);
    }
}
