//! A simulated Kubernetes API server: store, routes, verbs, watch, discovery, custom resources, TLS.
