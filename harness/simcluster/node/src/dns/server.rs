//! Speaks DNS over UDP and TCP on sockets it is given.

use std::{io, sync::Arc};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, CNAME, PTR, SOA, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::zone::{Data, Found, Kind, Zone};

/// Answers may be kept this many seconds: little, because pods come and go.
const TTL: u32 = 5;
/// What fits into a UDP answer when the client does not say otherwise.
const PLAIN_UDP: usize = 512;

/// Answers datagrams until the task is dropped.
pub(crate) async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer that could not be delivered comes back as an error here.
                tracing::debug!(%error, "dns datagram not received");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let room = question
            .edns
            .as_ref()
            .map_or(PLAIN_UDP, |e| usize::from(e.max_payload()));
        let answer = answer(&zone, &question);
        let bytes = match answer.to_vec() {
            Ok(bytes) if bytes.len() <= room.max(PLAIN_UDP) => bytes,
            Ok(_) => match answer.truncate().to_vec() {
                Ok(bytes) => bytes,
                Err(_) => continue,
            },
            Err(error) => {
                tracing::debug!(%error, "dns answer not written");
                continue;
            }
        };
        if let Err(error) = socket.send_to(&bytes, client).await {
            tracing::debug!(%error, %client, "dns answer not sent");
        }
    }
}

/// Answers connections until the task is dropped.
pub(crate) async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&zone)));
                }
                Err(error) => {
                    tracing::debug!(%error, "dns connection not accepted");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Zone>) {
    // Whatever goes wrong ends this one conversation.
    let _: io::Result<()> = async {
        loop {
            let length = stream.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await?;
            let question = Message::from_vec(&bytes).map_err(io::Error::other)?;
            let answer = answer(&zone, &question)
                .to_vec()
                .map_err(io::Error::other)?;
            stream
                .write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?)
                .await?;
            stream.write_all(&answer).await?;
        }
    }
    .await;
}

/// The answer to a message.
pub(crate) fn answer(zone: &Zone, question: &Message) -> Message {
    let asked = question.metadata;
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.add_queries(question.queries.iter().cloned());
    answer.metadata.recursion_desired = asked.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.edns.clone_from(&question.edns);
    if asked.message_type != MessageType::Query || asked.op_code != OpCode::Query {
        answer.metadata.response_code = ResponseCode::NotImp;
        return answer;
    }
    let Some(query) = question
        .queries
        .first()
        .filter(|q| q.query_class() == DNSClass::IN)
    else {
        answer.metadata.response_code = ResponseCode::Refused;
        return answer;
    };
    answer.metadata.authoritative = true;
    let kind = match query.query_type() {
        RecordType::A => Kind::A,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        _ => Kind::Other,
    };
    let text = query.name().to_ascii().to_lowercase();
    match zone.find(text.trim_end_matches('.'), kind) {
        Found::Nothing => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.add_authorities(authority(zone));
        }
        Found::Records(records, additional) => {
            if records.is_empty() {
                answer.add_authorities(authority(zone));
            }
            let records = records.into_iter().filter_map(data);
            let named = records.map(|data| Record::from_rdata(query.name().clone(), TTL, data));
            answer.add_answers(named);
            let others = additional.into_iter().filter_map(|(host, address)| {
                Some(Record::from_rdata(name(&host)?, TTL, RData::A(A(address))))
            });
            answer.add_additionals(others);
        }
    }
    answer
}

fn data(data: Data) -> Option<RData> {
    Some(match data {
        Data::A(address) => RData::A(A(address)),
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 100, port, name(&target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(&target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(name(&target)?)),
    })
}

/// What lets clients remember for a short while that there is nothing.
fn authority(zone: &Zone) -> Option<Record> {
    let origin = name(&zone.domain)?;
    let server = name(&format!("ns.dns.{}", zone.domain))?;
    let admin = name(&format!("hostmaster.{}", zone.domain))?;
    let soa = SOA::new(server, admin, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(origin, TTL, RData::SOA(soa)))
}

fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}
