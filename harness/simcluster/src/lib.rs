//! A Kubernetes cluster inside the process that tests against it: API server, controllers and nodes whose pods truly run.
