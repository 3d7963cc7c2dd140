//! Kubernetes' built-in controllers and scheduler, as ordinary API clients.
