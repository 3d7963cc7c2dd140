"""A simulated cluster from Python: testcontainers' own k3s module, with the image swapped.

    cargo lab k3s-image
    pip install 'testcontainers[k3s]'
    TESTCONTAINERS_RYUK_DISABLED=true python harness/examples/python/test_with_testcontainers.py
"""

import os

import yaml
from kubernetes import client, config
from testcontainers.community.k3s import K3SContainer


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
        config.load_kube_config_from_dict(yaml.safe_load(k3s.config_yaml()))
        api = client.CoreV1Api()
        print("nodes:", [node.metadata.name for node in api.list_node().items])
        pod = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
        made = api.create_namespaced_pod("default", pod)
        assert made.metadata.uid
        print("a pod can be made")


if __name__ == "__main__":
    main()
