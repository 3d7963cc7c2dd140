"""A simulated cluster from Python: testcontainers' own k3s module, with the image swapped.

    cargo lab k3s-image
    pip install 'testcontainers[k3s]'
    python harness/examples/python/test_with_testcontainers.py
"""

import json
import os
import ssl
import tempfile
import urllib.request

import yaml
from testcontainers.community.k3s import K3SContainer


def call(config, method, path, body=None):
    """One request to the API server, with the certificates of a kubeconfig."""
    cluster = config["clusters"][0]["cluster"]
    user = config["users"][0]["user"]

    def file(data):
        import base64

        handle = tempfile.NamedTemporaryFile(suffix=".pem")
        handle.write(base64.b64decode(data))
        handle.flush()
        return handle

    authority = file(cluster["certificate-authority-data"])
    certificate = file(user["client-certificate-data"])
    key = file(user["client-key-data"])
    context = ssl.create_default_context(cafile=authority.name)
    context.load_cert_chain(certificate.name, key.name)
    request = urllib.request.Request(
        cluster["server"] + path,
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=context) as answer:
        return json.load(answer)


def container():
    """The module's container; on machines whose engine lacks a capability, with all the others."""
    k3s = K3SContainer(os.environ.get("K3S_IMAGE", "simcluster-k3s:latest"))
    lacking = os.environ.get("K3S_CAP_DROP")
    if lacking:
        k3s.with_kwargs(
            cap_add=["ALL"],
            cap_drop=lacking.split(","),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        )
    return k3s


def main():
    with container() as k3s:
        config = yaml.safe_load(k3s.config_yaml())
        nodes = call(config, "GET", "/api/v1/nodes")["items"]
        print("nodes:", [node["metadata"]["name"] for node in nodes])
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "web"}]},
        }
        made = call(config, "POST", "/api/v1/namespaces/default/pods", pod)
        assert made["metadata"]["uid"]
        print("a pod can be made")


if __name__ == "__main__":
    main()
