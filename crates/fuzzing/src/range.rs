//! `Range` and `Content-Range`.

use roadstead_http_oci::range::{Chunk, Selection, chunk, content_range as describe, select, stored_range};

/// Reads a `Range` (all bytes but the first eight) for a blob of a size (those eight). Nothing outside of the blob is ever selected, and
/// all parts together are never more than the blob.
pub fn range(data: &[u8]) {
    let Some((size, rest)) = data.split_first_chunk::<8>() else { return };
    let Some(text) = crate::header(rest) else { return };
    let size = u64::from_be_bytes(*size);
    let inside = |part: &std::ops::Range<u64>| {
        assert!(part.start < part.end && part.end <= size, "{part:?} of {size}: {text}");
        let said = describe(part, size);
        assert_eq!(said, format!("bytes {}-{}/{size}", part.start, part.end - 1));
        // Asked for alone it is just itself.
        let alone = format!("bytes={}-{}", part.start, part.end - 1);
        assert_eq!(select(Some(&alone), size), Selection::Part(part.clone()));
    };
    match select(Some(text), size) {
        Selection::Whole => {}
        Selection::Unsatisfiable => assert!(size > 0 && text.contains('-'), "{text}"),
        Selection::Part(part) => inside(&part),
        Selection::Parts(parts) => {
            assert!((2..=1024).contains(&parts.len()), "{} parts", parts.len());
            parts.iter().for_each(inside);
            let sum: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
            assert!(sum <= u128::from(size), "{sum} bytes of {size}: {text}");
        }
    }
}

/// Reads the `Content-Range` of a chunk. Its end is a number too, and it is read back from the plainest form.
pub fn content_range(data: &[u8]) {
    let Some(text) = crate::header(data) else { return };
    let Ok(read) = chunk(text) else { return };
    let Chunk { start, length } = read;
    let end = start.checked_add(length).unwrap_or_else(|| panic!("{read:?} ends nowhere: {text}"));
    match read.inclusive() {
        None => assert_eq!(length, 0),
        Some((first, last)) => {
            assert_eq!((first, last.checked_add(1)), (start, Some(end)));
            let plain = format!("{first}-{last}");
            for form in [plain.clone(), format!("bytes {plain}"), format!("bytes={plain}/*")] {
                assert_eq!(chunk(&form), Ok(read), "{form} for {text}");
            }
        }
    }
    assert_eq!(stored_range(end), format!("0-{}", end.saturating_sub(1)));
}
