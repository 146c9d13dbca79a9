//! An execution as a point of a time series: `student_progress`.

use sha2::{Digest, Sha256};

use super::event::{Event, Kind};
use crate::series::Point;

/// None for what is not an execution. Tags have few values; who and which cell are fields.
pub fn of(event: &Event) -> Option<Point> {
    if event.kind() != Kind::Execution {
        return None;
    }
    // Two events of one millisecond must not take each other's place, and one event always gets the same place.
    let digest = Sha256::digest(event.event_id.as_bytes());
    let place = digest.iter().take(4).fold(0, |place, byte| place << 8 | u64::from(*byte));
    let mut point = Point::new("student_progress", event.event_time)
        .nth(place)
        .tag("status", event.status())
        .tag("cell_type", event.cell.cell_type.as_deref().unwrap_or("code"))
        .tag("class", event.who.class.as_deref().unwrap_or_default())
        .field("runs", 1_i64)
        .field("errors", i64::from(event.failed()))
        .field("user_id", event.user_id.as_str())
        .field("notebook", event.cell.notebook_path.as_deref().unwrap_or_default())
        .field("cell_id", event.cell.cell_id.as_deref().unwrap_or_default());
    if let Some(duration_ms) = event.cell.execution_duration_ms {
        point = point.field("duration_ms", duration_ms);
    }
    Some(point)
}
