//! What `/proc/PID/smaps` says of the mappings of a file (`man 5 proc`).

use std::ops::Range;

/// The private mappings of `file` that can't be written to and of which no page was written: addresses.
pub(crate) fn unwritten(smaps: &str, file: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut of_file = None;
    for line in smaps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(written) => found.extend(of_file.take().filter(|_| written.trim() == "0 kB")),
            None => of_file = heading(line, file).or(of_file),
        }
    }
    found
}

/// The addresses in the first line about a mapping, if it is one of `file` that is meant. A line about another mapping comes after the
/// `Anonymous:` of this one.
fn heading(line: &str, file: &str) -> Option<Range<usize>> {
    let (fields, name) = line.split_once('/')?;
    let mut fields = fields.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_meant =
        fields.next().is_some_and(|rights| matches!(rights, "r-xp" | "r--p")) && Some(name) == file.strip_prefix('/');
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    (is_meant && start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(line: &str, anonymous: u32) -> String {
        format!("{line}\nSize:  64 kB\nRss:  64 kB\nAnonymous:    {anonymous} kB\nVmFlags: rd mr mw me\n")
    }

    #[test]
    fn what_is_only_read_of_the_file_is_found() {
        let smaps = [
            mapping("1000-3000 r--p 00000000 fe:00 42    /opt/road stead/roadstead", 0),
            mapping("3000-9000 r-xp 00002000 fe:00 42    /opt/road stead/roadstead", 0),
            // What the loader has written to before it was protected.
            mapping("9000-a000 r--p 00008000 fe:00 42    /opt/road stead/roadstead", 4),
            mapping("a000-b000 rw-p 00009000 fe:00 42    /opt/road stead/roadstead", 0),
            mapping("b000-c000 r--s 00000000 fe:00 42    /opt/road stead/roadstead", 0),
            mapping("c000-d000 r-xp 00000000 fe:00 43    /opt/road stead/roadstead.old", 0),
            mapping("d000-e000 rw-p 00000000 00:00 0     [heap]", 0),
            mapping("e000-f000 rw-p 00000000 00:00 0", 0),
        ];
        assert_eq!(unwritten(&smaps.concat(), "/opt/road stead/roadstead"), [0x1000..0x3000, 0x3000..0x9000]);
        assert!(unwritten("", "/opt/roadstead").is_empty());
        assert!(unwritten("garbage / of no - form\nAnonymous: 0 kB", "/opt/roadstead").is_empty());
    }
}
