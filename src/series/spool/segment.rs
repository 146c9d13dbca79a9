//! One file of the spool: records one after the other, each with its length, its number of points and a CRC.
//!
//! A record whose CRC does not hold ends the file: behind it nothing can be trusted. That is how the torn end that a
//! power cut leaves is told from what was written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::series::Point;

/// Stands at the begin of each file; another format gets another number.
const MAGIC: &[u8; 8] = b"FFSPOOL1";
pub const BEGIN: u64 = MAGIC.len() as u64;
const HEADER: usize = 12;
/// A length beyond this is damage, not a record: `MAX_RECORD_POINTS` of the longest points stay below it.
const MAX_PAYLOAD: u32 = 256 << 20;

/// What the header of a record says.
#[derive(Clone, Copy)]
pub struct Header {
    payload_bytes: u32,
    pub points: u32,
    crc: u32,
}

impl Header {
    /// Header and payload.
    pub fn bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.payload_bytes)
    }
}

pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(MAGIC, 0)?;
    Ok(file)
}

/// Opens a file for reading, and says how long it is.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

pub fn has_magic(file: &File) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(&mut magic, 0).is_ok() && &magic == MAGIC
}

/// A record, ready to be appended.
pub fn encode(points: &[Point]) -> io::Result<Vec<u8>> {
    let mut record = vec![0; HEADER];
    rmp_serde::encode::write(&mut record, points).map_err(io::Error::other)?;
    let payload_bytes = u32::try_from(record.len() - HEADER).map_err(io::Error::other)?;
    if payload_bytes > MAX_PAYLOAD {
        return Err(io::Error::other("a record is too long"));
    }
    record[..4].copy_from_slice(&payload_bytes.to_le_bytes());
    record[4..8].copy_from_slice(&(points.len() as u32).to_le_bytes());
    let crc = crc(&record[..8], &record[HEADER..]);
    record[8..HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(record)
}

/// The header at `offset`, or `None` where no whole record begins before `end`.
pub fn header(file: &File, offset: u64, end: u64) -> Option<Header> {
    let mut bytes = [0; HEADER];
    if offset + HEADER as u64 > end || file.read_exact_at(&mut bytes, offset).is_err() {
        return None;
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let header = Header { payload_bytes: word(0), points: word(4), crc: word(8) };
    (header.payload_bytes <= MAX_PAYLOAD && offset + header.bytes() <= end).then_some(header)
}

/// The points of the record at `offset`, or `None` when it is damaged.
pub fn read(file: &File, offset: u64, header: Header) -> Option<Vec<Point>> {
    let mut payload = vec![0; header.payload_bytes as usize];
    file.read_exact_at(&mut payload, offset + HEADER as u64).ok()?;
    let mut head = [0; 8];
    head[..4].copy_from_slice(&header.payload_bytes.to_le_bytes());
    head[4..].copy_from_slice(&header.points.to_le_bytes());
    if crc(&head, &payload) != header.crc {
        return None;
    }
    rmp_serde::from_slice(&payload).ok()
}

fn crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
