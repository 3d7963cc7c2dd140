//! The network of a node: sandboxes, services, and the owner's ways in.

use std::{io::ErrorKind, net::Ipv4Addr};

use simcluster_runtime::{
    Container, Error, Fabric,
    spec::{ContainerSpec, SandboxSpec, Target, User},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{GATEWAY, Lab, finish, read_until};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

fn peer(lab: &Lab, sandbox: &str, which: &str, env: &[(&str, &str)]) -> ContainerSpec {
    let mut spec = lab.itself(&format!("{sandbox}-{which}"), &format!("peers::{which}"));
    sandbox.clone_into(&mut spec.sandbox);
    spec.env.extend(
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    spec
}

async fn serve(lab: &Lab, sandbox: &str, at: &str) -> Container {
    let spec = peer(lab, sandbox, "serve", &[("AT", at), ("SAY", sandbox)]);
    let mut container = lab.start_container(spec).await;
    read_until(&mut container, "listening").await;
    container
}

async fn ask(lab: &Lab, sandbox: &str, to: &str) -> String {
    heard(&lab.run(peer(lab, sandbox, "ask", &[("TO", to)])).await.1)
}

fn heard(text: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| Some(line.split_once("heard ")?.1));
    line.unwrap_or_else(|| panic!("nothing heard: {text}"))
        .to_owned()
}

async fn dialled(lab: &Lab, target: Target, address: Ipv4Addr, port: u16) -> String {
    let mut stream = lab
        .runtime
        .dial(target, address, port)
        .await
        .expect("a server answers there");
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .await
        .expect("a server answers there");
    text
}

#[tokio::test]
async fn sandboxes_of_connected_nodes_reach_each_other_whichever_node_ends() {
    let fabric = Fabric::default();
    let first = Lab::connected(&fabric, 0).await;
    let second = Lab::connected(&fabric, 1).await;
    let third = Lab::connected(&fabric, 2).await;
    let _serving = serve(&second, "pod", "0.0.0.0:80").await;
    assert_eq!(ask(&first, "pod", "10.42.1.2:80").await, "pod");
    assert_eq!(ask(&third, "pod", "10.42.1.2:80").await, "pod");
    let node = dialled(&third, Target::Node, Ipv4Addr::new(10, 42, 1, 2), 80).await;
    assert_eq!(node, "pod", "a node itself reaches pods of others");

    first.runtime.shutdown().await;
    assert_eq!(ask(&third, "pod", "10.42.1.2:80").await, "pod");
    let successor = Lab::connected(&fabric, 0).await;
    assert_eq!(ask(&successor, "pod", "10.42.1.2:80").await, "pod");
}

#[tokio::test]
async fn sandboxes_have_ports_of_their_own_and_reach_each_other() {
    let lab = Lab::start().await;
    lab.sandbox("one", 2).await;
    lab.sandbox("two", 3).await;
    let _servers = (
        serve(&lab, "one", "0.0.0.0:80").await,
        serve(&lab, "two", "0.0.0.0:80").await,
    );
    assert_eq!(ask(&lab, "one", "10.42.0.3:80").await, "two");
    assert_eq!(ask(&lab, "two", "10.42.0.2:80").await, "one");
    assert_eq!(ask(&lab, "two", "10.42.0.3:80").await, "two");
    assert_eq!(ask(&lab, "two", "127.0.0.1:80").await, "two");
    assert_eq!(
        dialled(&lab, Target::Node, Ipv4Addr::new(10, 42, 0, 2), 80).await,
        "one"
    );
}

#[tokio::test]
async fn the_owner_reaches_what_listens_on_a_sandboxs_loopback() {
    let lab = Lab::with_pod().await;
    let _server = serve(&lab, "pod", "127.0.0.1:3306").await;
    assert_eq!(
        dialled(&lab, Target::Sandbox("pod".into()), LOOPBACK, 3306).await,
        "pod"
    );
    let refused = lab
        .runtime
        .dial(Target::Node, Ipv4Addr::new(10, 42, 0, 2), 3306)
        .await
        .unwrap_err();
    let Error::Dial { source, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(refused.to_string(), "dial tcp 10.42.0.2:3306: connect");
}

#[tokio::test]
async fn a_refused_connection_is_an_error_at_once() {
    let lab = Lab::with_pod().await;
    let target = Target::Sandbox("pod".into());
    let refused = lab.runtime.dial(target, LOOPBACK, 1).await.unwrap_err();
    let Error::Dial { source, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    let unknown = lab
        .runtime
        .dial(Target::Sandbox("no".into()), LOOPBACK, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(unknown, Error::NoSuchSandbox { .. }),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn pods_reach_what_the_owner_serves_at_the_gateway_and_at_service_addresses() {
    let lab = Lab::with_pod().await;
    lab.runtime.add_address(SERVICE).await.unwrap();
    for (address, port) in [(GATEWAY, 10250), (SERVICE, 80)] {
        let listener = lab.runtime.listen(address, port).await.unwrap();
        let served = tokio::spawn(async move {
            let (mut peer, from) = listener.accept().await.unwrap();
            peer.write_all(b"service").await.unwrap();
            from
        });
        assert_eq!(
            ask(&lab, "pod", &format!("{address}:{port}")).await,
            "service"
        );
        assert_eq!(served.await.unwrap().ip(), Ipv4Addr::new(10, 42, 0, 2));
    }
    lab.runtime.remove_address(SERVICE).await.unwrap();
    let gone = lab.runtime.listen(SERVICE, 80).await.unwrap_err();
    assert_eq!(gone.to_string(), "unable to listen at 10.43.0.10:80");
}

#[tokio::test]
async fn pods_reach_udp_services() {
    let lab = Lab::with_pod().await;
    lab.runtime.add_address(SERVICE).await.unwrap();
    let socket = lab.runtime.udp(SERVICE, 53).await.unwrap();
    let served = async {
        let mut buffer = [0; 64];
        let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"who?");
        socket.send_to(b"you", from).await.unwrap();
    };
    let spec = peer(
        &lab,
        "pod",
        "ask_udp",
        &[("TO", "10.43.0.10:53"), ("SAY", "who?")],
    );
    let (asked, ()) = tokio::join!(lab.run(spec), served);
    assert_eq!(heard(&asked.1), "you");
}

#[tokio::test]
async fn an_ordinary_user_may_listen_on_a_low_port() {
    let lab = Lab::with_pod().await;
    let mut spec = peer(
        &lab,
        "pod",
        "serve",
        &[("AT", "0.0.0.0:80"), ("SAY", "low")],
    );
    spec.user = User {
        uid: 999,
        gid: 999,
        additional_gids: Vec::new(),
    };
    let mut container = lab.start_container(spec).await;
    read_until(&mut container, "listening").await;
    assert_eq!(ask(&lab, "pod", "10.42.0.2:80").await, "low");
}

#[tokio::test]
async fn a_sandbox_may_be_in_the_nodes_own_network() {
    let lab = Lab::with_pod().await;
    let spec = SandboxSpec {
        id: "host".into(),
        hostname: "node".into(),
        address: None,
        memory: Vec::new(),
        share_processes: false,
        sysctls: std::collections::BTreeMap::new(),
    };
    lab.runtime.create_sandbox(spec).await.unwrap();
    let _server = serve(&lab, "host", "0.0.0.0:9000").await;
    assert_eq!(ask(&lab, "pod", "10.42.0.1:9000").await, "host");
    assert_eq!(dialled(&lab, Target::Node, LOOPBACK, 9000).await, "host");
}

#[tokio::test]
async fn an_address_can_be_used_again_at_once() {
    let lab = Lab::start().await;
    for _ in 0..5 {
        lab.sandbox("one", 2).await;
        let server = serve(&lab, "one", "0.0.0.0:80").await;
        assert_eq!(
            dialled(&lab, Target::Node, Ipv4Addr::new(10, 42, 0, 2), 80).await,
            "one"
        );
        lab.runtime.remove_sandbox("one").await.unwrap();
        assert_eq!(finish(server).await.0, 137);
    }
}
