//! Programs that run inside the pods of these tests: this very executable, asked for one of its tests.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

fn argument(name: &str) -> String {
    std::env::var(name).expect("the pod sets it")
}

/// Says `$NAME` to everyone who connects to port 3306.
#[test]
#[ignore = "a program for pods"]
fn say_name() {
    let listener = TcpListener::bind("0.0.0.0:3306").unwrap();
    println!("listening");
    for stream in listener.incoming() {
        let _ = stream.unwrap().write_all(argument("NAME").as_bytes());
    }
}

/// Connects to each of `$TARGETS` and prints who is there.
#[test]
#[ignore = "a program for pods"]
fn ask_names() {
    for target in argument("TARGETS").split_whitespace() {
        let mut answer = String::new();
        // The proxy of this pod's node may learn of the Service's endpoints a moment later than others.
        for _ in 0..100 {
            let heard = TcpStream::connect(target).and_then(|mut s| s.read_to_string(&mut answer));
            match heard {
                Ok(_) => break,
                Err(error) => answer = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(50));
            answer.clear();
        }
        println!("{target} is {answer}");
    }
}

/// Wants 64 MiB, and uses them.
#[test]
#[ignore = "a program for pods"]
fn want_much_memory() {
    let kept = vec![1_u8; 64 << 20];
    let sum: usize = kept.iter().map(|byte| usize::from(*byte)).sum();
    assert_eq!(sum, kept.len());
}
