//! Days and hours out of what job pages write, as bit masks.

/// Monday is bit 0. No bit: the text names no day.
pub fn days(text: &str) -> u8 {
    let lower = text.to_lowercase();
    let mut mask = if lower.contains("平日") { 0b001_1111 } else { 0 };
    if lower.contains("土日") {
        mask |= 0b110_0000;
    }
    for (bit, name) in ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter().enumerate() {
        if lower.contains(name) {
            mask |= 1 << bit;
        }
    }
    let mut before = ' ';
    for c in lower.chars() {
        // 日 is also a day in 週3日, 平日, 祝日, 毎日 and after 曜; 月 is also a month after a number.
        let other = before.is_numeric() || matches!(before, '平' | '祝' | '毎' | '曜' | 'ヶ' | 'か' | 'カ');
        if let Some(bit) = "月火水木金土日".chars().position(|day| day == c).filter(|_| !other) {
            mask |= 1 << bit;
        }
        before = c;
    }
    mask
}

/// Morning from 5, day from 11, evening from 17, night from 22 o'clock on. No bit: the text names no hours.
pub fn slots(text: &str) -> u8 {
    let mut hours = text.split(|c: char| !c.is_ascii_digit() && c != ':').filter_map(|word| {
        let (hour, minute) = word.split_once(':')?;
        Some(hour.parse::<u32>().ok()? * 60 + minute.parse::<u32>().ok()?)
    });
    let (Some(from), Some(to)) = (hours.next(), hours.next()) else { return 0 };
    let to = if to <= from { to + 24 * 60 } else { to };
    let bounds = [5 * 60, 11 * 60, 17 * 60, 22 * 60, 29 * 60];
    let covers = |from: u32, to: u32| {
        (0..4).filter(|slot| from < bounds[slot + 1] && to > bounds[*slot]).fold(0, |mask, slot| mask | 1 << slot)
    };
    // What goes past midnight, or begins before 5, is part of the day around it, too.
    covers(from, to)
        | covers(from + 24 * 60, to + 24 * 60)
        | covers(from.saturating_sub(24 * 60), to.saturating_sub(24 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_are_read() {
        for (text, mask) in [
            ("月・水・金", 0b001_0101),
            ("土日", 0b110_0000),
            ("平日のみ", 0b001_1111),
            ("週3日から", 0),
            ("月曜日と火曜日", 0b000_0011),
            ("Sat, Sun", 0b110_0000),
            ("3ヶ月", 0),
        ] {
            assert_eq!(days(text), mask, "{text}");
        }
        for (text, mask) in
            [("9:00-17:00", 0b0011), ("18:00〜23:00", 0b1100), ("22:00-05:00", 0b1000), ("シフト", 0), ("10:00", 0)]
        {
            assert_eq!(slots(text), mask, "{text}");
        }
    }
}
