//! Points on disk, in order, until the store has them.
//!
//! A folder of numbered files ([`segment`]), appended to at one end and read from the other, and a small file that says
//! how far the store has come. What has been appended survives kill -9, because the kernel has it; a power cut may take
//! what came after the last [`Spool::sync`]. How far the store has come is not synced: after a power cut points may be
//! sent twice, which changes nothing in the store.
//!
//! When the files are beyond their limit, the oldest goes: what is happening now is worth more than what was.
//! Each process has a folder of its own below `spool/`, locked; what a process left behind is adopted by the next one
//! that starts.

mod folder; // which folder is ours
mod segment;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Point, SeriesMetrics};

/// A place in the spool; later points have later places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: u64,
    offset: u64,
}

/// Points that are next for the store. They stay in the spool until [`Spool::commit`].
#[derive(Debug)]
pub struct Batch {
    pub points: Vec<Point>,
    /// More waits than fits into one batch.
    pub full: bool,
    end: Position,
}

/// The spool of this process.
pub struct Spool {
    folder: PathBuf,
    /// Locked as long as this process lives.
    _lock: File,
    limit_bytes: u64,
    segment_bytes: u64,
    metrics: SeriesMetrics,
    state: Mutex<State>,
}

struct State {
    /// Oldest first; the last one is appended to. Never empty.
    segments: VecDeque<Segment>,
    active: Arc<File>,
    /// Everything before this is in the store.
    head: Position,
    /// Where the batch that was handed out ends.
    in_hand: Option<Position>,
    head_file: File,
    waiting_points: u64,
}

struct Segment {
    id: u64,
    file: Arc<File>,
    bytes: u64,
}

impl Spool {
    /// Takes a folder of its own below `folder`, with everything that was left there.
    pub fn open(folder: &Path, limit_bytes: u64, metrics: SeriesMetrics) -> io::Result<Self> {
        let (folder, lock) = folder::take(folder)?;
        let head_file =
            File::options().read(true).write(true).create(true).truncate(false).open(folder.join("head"))?;
        let mut segments = VecDeque::new();
        for id in folder::segments(&folder)? {
            let path = segment_path(&folder, id);
            let (file, bytes) = segment::open(&path)?;
            if bytes <= segment::BEGIN || !segment::has_magic(&file) {
                std::fs::remove_file(path)?;
                continue;
            }
            segments.push_back(Segment { id, file: Arc::new(file), bytes });
        }
        let stored = read_head(&head_file);
        let next =
            segments.back().map_or(1, |last: &Segment| last.id + 1).max(stored.map_or(1, |head| head.segment + 1));
        let active = Arc::new(segment::create(&segment_path(&folder, next))?);
        segments.push_back(Segment { id: next, file: active.clone(), bytes: segment::BEGIN });
        let first = Position { segment: segments.front().map_or(next, |first| first.id), offset: segment::BEGIN };
        let head = stored.map_or(first, |stored| stored.max(first));
        let mut waiting_points = 0;
        for segment in &segments {
            let from = if segment.id == head.segment { head.offset } else { segment::BEGIN };
            if segment.id >= head.segment {
                waiting_points += segment.points_from(from);
            }
        }
        let state = State { segments, active, head, in_hand: None, head_file, waiting_points };
        let segment_bytes = (limit_bytes / 16).clamp(64 << 10, 8 << 20);
        let spool = Self { folder, _lock: lock, limit_bytes, segment_bytes, metrics, state: Mutex::new(state) };
        let mut state = spool.state();
        spool.remove_read(&mut state)?;
        spool.measure(&state);
        drop(state);
        Ok(spool)
    }

    /// Appends points as one record; afterwards they survive the end of this process.
    pub fn append(&self, points: &[Point]) -> io::Result<()> {
        let record = segment::encode(points)?;
        let mut state = self.state();
        let active_bytes = state.segments.back().map_or(0, |active| active.bytes);
        if active_bytes > segment::BEGIN && active_bytes + record.len() as u64 > self.segment_bytes {
            self.rotate(&mut state)?;
        }
        while state.bytes() + record.len() as u64 > self.limit_bytes && state.segments.len() > 1 {
            self.drop_oldest(&mut state)?;
        }
        let file = state.active.clone();
        let Some(active) = state.segments.back_mut() else { return Err(io::Error::other("no active segment")) };
        if let Err(error) = file.write_all_at(&record, active.bytes) {
            // What is half written is taken back, or the next record would stand behind damage.
            file.set_len(active.bytes)?;
            return Err(error);
        }
        active.bytes += record.len() as u64;
        state.waiting_points += points.len() as u64;
        self.measure(&state);
        Ok(())
    }

    /// Writes what has been appended through to the disk.
    pub fn sync(&self) -> io::Result<()> {
        let active = self.state().active.clone();
        active.sync_data()
    }

    /// The points that are next, at least one record of them; `None` when nothing waits.
    pub fn next(&self, most_points: usize, most_bytes: u64) -> io::Result<Option<Batch>> {
        let mut state = self.state();
        let mut at = state.head;
        let (mut points, mut bytes, mut full) = (Vec::new(), 0, false);
        while let Some(segment) = state.segments.iter().find(|segment| segment.id >= at.segment) {
            if segment.id > at.segment {
                at = Position { segment: segment.id, offset: segment::BEGIN };
            }
            let is_active = segment.id == state.segments.back().map_or(0, |active| active.id);
            let Some(header) = segment::header(&segment.file, at.offset, segment.bytes) else {
                if is_active {
                    break;
                }
                if at.offset < segment.bytes {
                    tracing::warn!(segment = at.segment, offset = at.offset, "the spool has a torn end; skipped");
                }
                at = Position { segment: at.segment + 1, offset: segment::BEGIN };
                continue;
            };
            let beyond = points.len() + header.points as usize > most_points || bytes + header.bytes() > most_bytes;
            if beyond && !points.is_empty() {
                full = true;
                break;
            }
            match segment::read(&segment.file, at.offset, header) {
                Some(read) => {
                    points.extend(read);
                    bytes += header.bytes();
                    at.offset += header.bytes();
                }
                None if !points.is_empty() => break,
                None => {
                    let lost = segment.points_from(at.offset);
                    tracing::error!(segment = at.segment, offset = at.offset, points = lost, "the spool is damaged");
                    self.metrics.drop_points("corrupt", lost);
                    at = Position { segment: at.segment, offset: segment.bytes };
                    state.waiting_points = state.waiting_points.saturating_sub(lost);
                    state.head = at;
                    if is_active {
                        break;
                    }
                }
            }
        }
        if points.is_empty() {
            state.head = state.head.max(at);
            // Whatever was damaged may have been counted.
            state.waiting_points = 0;
            self.measure(&state);
            return Ok(None);
        }
        state.in_hand = Some(at);
        Ok(Some(Batch { points, full, end: at }))
    }

    /// The batch is done with: in the store, or given up. It leaves the spool.
    pub fn commit(&self, batch: Batch) -> io::Result<()> {
        let mut state = self.state();
        state.waiting_points = state.waiting_points.saturating_sub(batch.points.len() as u64);
        state.in_hand = None;
        state.head = state.head.max(batch.end);
        self.remove_read(&mut state)?;
        self.measure(&state);
        write_head(&state.head_file, state.head)
    }

    pub fn waiting_points(&self) -> u64 {
        self.state().waiting_points
    }

    fn rotate(&self, state: &mut State) -> io::Result<()> {
        state.active.sync_data()?;
        let id = state.segments.back().map_or(1, |active| active.id + 1);
        state.active = Arc::new(segment::create(&segment_path(&self.folder, id))?);
        state.segments.push_back(Segment { id, file: state.active.clone(), bytes: segment::BEGIN });
        Ok(())
    }

    /// Removes the oldest file. What of it has been handed out is under way and not lost.
    fn drop_oldest(&self, state: &mut State) -> io::Result<()> {
        let Some(oldest) = state.segments.pop_front() else { return Ok(()) };
        let reached = state.in_hand.map_or(state.head, |in_hand| in_hand.max(state.head));
        let lost = match reached.segment.cmp(&oldest.id) {
            std::cmp::Ordering::Greater => 0,
            std::cmp::Ordering::Equal => oldest.points_from(reached.offset),
            std::cmp::Ordering::Less => oldest.points_from(segment::BEGIN),
        };
        if lost > 0 {
            tracing::warn!(points = lost, "the spool is full; its oldest points were given up");
        }
        self.metrics.drop_points("spool_full", lost);
        state.waiting_points = state.waiting_points.saturating_sub(lost);
        state.head = state.head.max(Position { segment: oldest.id + 1, offset: segment::BEGIN });
        remove(&segment_path(&self.folder, oldest.id))
    }

    /// Removes the files that have been read to their end.
    fn remove_read(&self, state: &mut State) -> io::Result<()> {
        while state.segments.len() > 1 {
            let Some(oldest) = state.segments.front() else { break };
            let done = Position { segment: oldest.id, offset: oldest.bytes };
            if state.head < done {
                break;
            }
            let id = oldest.id;
            state.segments.pop_front();
            state.head = state.head.max(Position { segment: id + 1, offset: segment::BEGIN });
            remove(&segment_path(&self.folder, id))?;
        }
        Ok(())
    }

    fn measure(&self, state: &State) {
        self.metrics.waiting.set(i64::try_from(state.waiting_points).unwrap_or(i64::MAX));
        self.metrics.spool_bytes.set(i64::try_from(state.bytes()).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

impl Segment {
    /// How many points the records from `offset` on hold, by their headers.
    fn points_from(&self, mut offset: u64) -> u64 {
        let mut points = 0;
        while let Some(header) = segment::header(&self.file, offset, self.bytes) {
            points += u64::from(header.points);
            offset += header.bytes();
        }
        points
    }
}

/// That it has gone already is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn segment_path(folder: &Path, id: u64) -> PathBuf {
    folder.join(folder::segment_name(id))
}

const HEAD_BYTES: usize = 20;

/// `None` when it was never written, or torn: then everything that is there is sent again.
fn read_head(file: &File) -> Option<Position> {
    let mut bytes = [0; HEAD_BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (place, crc) = bytes.split_at(16);
    let number = |from: usize| place[from..from + 8].try_into().map(u64::from_le_bytes).ok();
    let holds = crc32fast::hash(place).to_le_bytes() == crc;
    holds.then_some(Position { segment: number(0)?, offset: number(8)? })
}

fn write_head(file: &File, head: Position) -> io::Result<()> {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(&head.segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&head.offset.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&bytes, 0)
}
