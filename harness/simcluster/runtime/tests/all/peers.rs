//! Small network programs for containers: this test program itself, told by its arguments which one to be.

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
};

fn variable(name: &str) -> String {
    env::var(name).expect("the container sets it")
}

/// Listens at `AT` and answers every connection with `SAY`.
#[test]
#[ignore = "runs in a container"]
fn serve() {
    let listener = TcpListener::bind(variable("AT")).expect("the port is free");
    println!("listening");
    for connection in listener.incoming() {
        let answered = connection.and_then(|mut peer| peer.write_all(variable("SAY").as_bytes()));
        answered.expect("the client waits for the answer");
    }
}

/// Connects to `TO` and prints what it says.
#[test]
#[ignore = "runs in a container"]
fn ask() {
    match TcpStream::connect(variable("TO")) {
        Err(error) => println!("heard error {:?}", error.kind()),
        Ok(mut peer) => {
            let mut text = String::new();
            peer.read_to_string(&mut text).expect("the server answers");
            println!("heard {text}");
        }
    }
}

/// Sends `SAY` to `TO` over UDP and prints the answer.
#[test]
#[ignore = "runs in a container"]
fn ask_udp() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("some port is free");
    socket
        .connect(variable("TO"))
        .expect("the address is valid");
    socket
        .send(variable("SAY").as_bytes())
        .expect("the network takes it");
    let mut buffer = [0; 512];
    let count = socket.recv(&mut buffer).expect("the server answers");
    println!("heard {}", String::from_utf8_lossy(&buffer[..count]));
}
