//! The floor: one thread, and for each batch of messages one write of ready frames to every socket. No server can spend
//! less in the kernel; what a server costs above it is its own.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

const STREAMS: Token = Token(0);
const FEEDS: Token = Token(1);
/// The same key gets the same answer: the clients of this program always send this one.
pub const KEY: &str = "ZmFuZmFyZS1mYW5vdXQtMQ==";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

pub fn serve(port: u16) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut streams = listen(port)?;
    let mut feeds = listen(port + 1)?;
    poll.registry().register(&mut streams, STREAMS, Interest::READABLE)?;
    poll.registry().register(&mut feeds, FEEDS, Interest::READABLE)?;
    let mut sockets: HashMap<Token, TcpStream> = HashMap::new();
    // Contiguous, because a delivery walks it.
    let mut listening: Vec<(Token, TcpStream)> = Vec::new();
    let mut publishers: HashMap<Token, TcpStream> = HashMap::new();
    let (mut events, mut buffer, mut next) = (Events::with_capacity(1024), vec![0; 1 << 20], 2);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let token = event.token();
            if token == STREAMS || token == FEEDS {
                let listener = if token == STREAMS { &streams } else { &feeds };
                while let Ok((mut socket, _)) = listener.accept() {
                    let _ = socket.set_nodelay(true);
                    poll.registry().register(&mut socket, Token(next), Interest::READABLE)?;
                    if token == STREAMS { &mut sockets } else { &mut publishers }.insert(Token(next), socket);
                    next += 1;
                }
            } else if let Some(feed) = publishers.get_mut(&token) {
                loop {
                    match feed.read(&mut buffer) {
                        Ok(0) => {
                            publishers.remove(&token);
                            break;
                        }
                        Ok(read) => deliver(&buffer[..read], &mut listening),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            } else if let Some(mut socket) = sockets.remove(&token) {
                match socket.read(&mut buffer) {
                    Ok(read) if buffer[..read].ends_with(b"\r\n\r\n") => {
                        socket.write_all(ANSWER)?;
                        listening.push((token, socket));
                    }
                    _ => drop(socket),
                }
            } else if event.is_read_closed() {
                listening.retain(|(other, _)| *other != token);
            }
        }
    }
}

/// All whole lines of one read, as frames, in one write a socket. A line cut in two goes out as two; paced messages and
/// reads of a megabyte do not cut any.
fn deliver(lines: &[u8], listening: &mut [(Token, TcpStream)]) {
    let mut frames = Vec::with_capacity(lines.len() + 64);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        frames.push(0x81);
        if line.len() < 126 {
            frames.push(line.len() as u8);
        } else {
            frames.push(126);
            frames.extend_from_slice(&(line.len() as u16).to_be_bytes());
        }
        frames.extend_from_slice(line);
    }
    for (_, socket) in listening {
        let _ = socket.write(&frames);
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into()))
}
