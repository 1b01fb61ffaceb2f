//! `Range` of a download and `Content-Range` of a chunk (protocol.md C3, D5-D7).

use std::ops::Range;

/// The most ranges that are answered one by one; more are answered with the whole blob (the client asked for nearly all of it anyway).
const MAX_PARTS: usize = 1024;

/// What a GET with a `Range` header gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200 and everything: no `Range`, another unit than bytes, or a header that makes no sense.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 206 `multipart/byteranges`.
    Parts(Vec<Range<u64>>),
    /// 416: nothing that was asked for exists.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
///
/// `b-a` with a < b is answered as unsatisfiable (the conformance program asks for `500-0`), although RFC 9110 would let it be ignored.
/// An empty blob is answered whole: clients that resume ask `bytes=0-` of everything.
pub fn select(header: Option<&str>, size: u64) -> Selection {
    let Some(header) = header else { return Selection::Whole };
    let Some((unit, list)) = header.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || size == 0 {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    for (count, spec) in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()).enumerate() {
        if count >= MAX_PARTS {
            return Selection::Whole;
        }
        match one(spec, size) {
            Some(Some(range)) => parts.push(range),
            Some(None) => {}
            None => return Selection::Whole,
        }
    }
    if list.split(',').all(|spec| spec.trim().is_empty()) {
        return Selection::Whole;
    }
    // Ranges that lie over each other could ask for many times the blob (RFC 9110 14.2).
    let asked: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
    match parts.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::Part(parts.remove(0)),
        _ if asked > u128::from(size) => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// One range: `None` when it makes no sense, `Some(None)` when it lies outside.
fn one(spec: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some((suffix > 0).then(|| size.saturating_sub(suffix)..size));
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    Some((first < end).then_some(first..end))
}

/// Digits only: no sign, no spaces. A number beyond 64 bits counts as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// `Content-Range` of an answer: `bytes a-b/size`.
pub fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// `Range` of an answer about an upload: `0-N` with the index of the last byte, `0-0` for an empty one, never `bytes=` (protocol.md D6, D8:
/// docker takes the layer's size from it).
pub fn stored_range(stored: u64) -> String {
    format!("0-{}", stored.saturating_sub(1))
}

/// A `Content-Range` of a request that makes no sense (416, protocol.md D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where a chunk says it goes: first byte and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Index of its first byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

impl Chunk {
    /// Index of first and last byte, as the core wants them; `None` for a chunk without bytes.
    pub fn inclusive(self) -> Option<(u64, u64)> {
        (self.length > 0).then(|| (self.start, self.start + (self.length - 1)))
    }
}

/// Reads the `Content-Range` of a chunk: `a-b`, leniently also `bytes a-b`, `bytes=a-b` and either with `/total` (distribution #3496).
/// An empty chunk is written `a-(a-1)`, also `0--1`.
pub fn chunk(header: &str) -> Result<Chunk, Malformed> {
    let text = header.trim();
    let text = match text.get(..5) {
        Some(unit) if unit.eq_ignore_ascii_case("bytes") => text[5..].trim_start_matches([' ', '=']),
        _ => text,
    };
    let (text, total) =
        text.split_once('/').map_or((text, "*"), |(range, total)| (range.trim_end(), total.trim_start()));
    let (first, last) = text.split_once('-').ok_or(Malformed)?;
    let exact = |text: &str| {
        if text.bytes().all(|c| c.is_ascii_digit()) {
            text.parse::<u64>().map_err(|_| Malformed)
        } else {
            Err(Malformed)
        }
    };
    let start = exact(first.trim())?;
    if last == "-1" {
        return if start == 0 { Ok(Chunk { start, length: 0 }) } else { Err(Malformed) };
    }
    let end = exact(last.trim())?.checked_add(1).ok_or(Malformed)?;
    // A whole that ends before its part is no whole (RFC 9110 14.4).
    if total != "*" && exact(total)? < end {
        return Err(Malformed);
    }
    let length = end.checked_sub(start).ok_or(Malformed)?;
    Ok(Chunk { start, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// protocol.md C3, 1.7: the ranges the conformance program asks for.
    #[test]
    fn single_ranges() {
        let of = |header: &str| select(Some(header), 4096);
        assert_eq!(of("bytes=500-1499"), Selection::Part(500..1500));
        assert_eq!(of("bytes=500-"), Selection::Part(500..4096));
        assert_eq!(of("bytes=-500"), Selection::Part(3596..4096));
        assert_eq!(of("bytes=-5000"), Selection::Part(0..4096));
        assert_eq!(of("bytes=2000-5000"), Selection::Part(2000..4096));
        for outside in ["bytes=500-0", "bytes=5000-10000", "bytes=4096-", "bytes=-0"] {
            assert_eq!(of(outside), Selection::Unsatisfiable, "{outside}");
        }
        for nonsense in ["bytes", "bytes=", "bytes=a-b", "bytes=-", "bytes=1", "bytes=+1-2", "items=0-1", "bytes=0-1,x"]
        {
            assert_eq!(of(nonsense), Selection::Whole, "{nonsense}");
        }
        assert_eq!(select(Some("bytes=0-"), 0), Selection::Whole);
        assert_eq!(select(None, 10), Selection::Whole);
        assert_eq!(of("bytes=0-99999999999999999999999"), Selection::Part(0..4096));
    }

    /// podman #24885: several ranges are answered one by one, never with wrong bytes.
    #[test]
    fn several_ranges() {
        assert_eq!(select(Some("bytes=0-9, 100-109"), 4096), Selection::Parts(vec![0..10, 100..110]));
        assert_eq!(select(Some("bytes=0-9,5000-"), 4096), Selection::Part(0..10));
        assert_eq!(select(Some("bytes=5000-,6000-"), 4096), Selection::Unsatisfiable);
        assert_eq!(select(Some("bytes=0-,0-,0-"), 4096), Selection::Whole);
        let many = format!("bytes={}", vec!["1-1"; MAX_PARTS + 1].join(","));
        assert_eq!(select(Some(&many), 4096), Selection::Whole);
    }

    /// protocol.md D5, D7.
    #[test]
    fn content_range_of_a_chunk() {
        for right in ["10-19", " 10-19 ", "bytes 10-19", "bytes 10-19/*", "bytes=10-19", "10-19/100"] {
            assert_eq!(chunk(right), Ok(Chunk { start: 10, length: 10 }), "{right}");
        }
        for empty in ["0--1", "10-9"] {
            assert_eq!(chunk(empty).map(|c| (c.length, c.inclusive())), Ok((0, None)), "{empty}");
        }
        for wrong in [
            "",
            "-",
            "1",
            "a-b",
            "5-2",
            "-5",
            "5-",
            "0-18446744073709551615",
            "bytes",
            "1-2-3",
            "+1-2",
            "5--1",
            "0-9/9",
            "0-9/x",
            "0-9/",
        ] {
            assert_eq!(chunk(wrong), Err(Malformed), "{wrong}");
        }
    }

    /// protocol.md D6, D8.
    #[test]
    fn range_of_an_upload() {
        assert_eq!([stored_range(0), stored_range(1), stored_range(5)], ["0-0", "0-0", "0-4"]);
    }

    proptest! {
        #[test]
        fn a_selection_lies_inside(header in "bytes=([0-9]{0,4}-[0-9]{0,4},?){0,4}", size in 0u64..3000) {
            match select(Some(&header), size) {
                Selection::Part(part) => prop_assert!(part.start < part.end && part.end <= size),
                Selection::Parts(parts) => for part in parts { prop_assert!(part.start < part.end && part.end <= size) },
                Selection::Whole | Selection::Unsatisfiable => {}
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", size: u64) {
            let _ = select(Some(&text), size);
            let _ = select(Some(&format!("bytes={text}")), size);
            let _ = chunk(&text);
            let _ = chunk(&format!("bytes{text}"));
        }

        #[test]
        fn a_chunk_is_read_back(start in 0u64..1 << 62, length in 1u64..1 << 62) {
            let text = format!("{start}-{}", start + length - 1);
            prop_assert_eq!(chunk(&text), Ok(Chunk { start, length }));
        }
    }
}
