//! A client whose way out is the body of an HTTP answer.
//!
//! The hub writes to sockets, so such a client's socket is one end of a pair, and what comes out of the other is the
//! body. Its budget, its books and its end are those of every client.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::upgrade::CLIENT;
use crate::http::Problem;
use crate::http::layers::X_ACCEL_BUFFERING;
use crate::http::server::Lasting;
use crate::stream::Ticket;

const PART_BYTES: usize = 16 << 10;

/// Gives the client's place its socket, with what the client has said already; answers the other end.
pub(super) async fn open(ticket: Ticket, first: Vec<u8>) -> Result<UnixStream, Problem> {
    let (hubs, ours) = Pair::pair().map_err(Problem::internal)?;
    hubs.set_nonblocking(true).and_then(|()| ours.set_nonblocking(true)).map_err(Problem::internal)?;
    let ours = UnixStream::from_std(ours).map_err(Problem::internal)?;
    // A shard reads and writes its sockets, and asks nothing of them that only TCP has.
    ticket.adopt(std::net::TcpStream::from(OwnedFd::from(hubs)), first).await;
    Ok(ours)
}

/// The answer around such a body.
pub(super) fn answer(
    request: &Parts,
    client: &str,
    content_type: &'static str,
    body: Body,
) -> Result<Response, Problem> {
    let client = HeaderValue::try_from(client).map_err(Problem::internal)?;
    if let Some(lasting) = request.extensions.get::<Lasting>() {
        lasting.begin();
    }
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // Its connection has become this stream, and serves nothing else.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(CLIENT, client);
    Ok(response)
}

/// What the hub has written since, behind what `part` holds; `false`: there will be no more.
pub(super) async fn read(socket: &UnixStream, part: &mut BytesMut) -> std::io::Result<bool> {
    // Nothing is held while nothing comes.
    if part.is_empty() {
        *part = BytesMut::new();
    }
    loop {
        socket.readable().await?;
        let mut length = None;
        let mut room = [const { MaybeUninit::uninit() }; PART_BYTES];
        let read = socket.try_io(Interest::READABLE, || {
            let (read, _) = rustix::io::read(socket, &mut room[..])?;
            part.extend_from_slice(read);
            length = Some(read.len());
            // Less than there was room for: there is no more now, which the next call need not ask the kernel to know.
            if (1..PART_BYTES).contains(&read.len()) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (length, read) {
            (Some(length), _) => return Ok(length > 0),
            (None, Err(error)) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            (None, _) => {}
        }
    }
}
