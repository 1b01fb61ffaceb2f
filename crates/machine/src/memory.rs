//! Memory that is given back to the system while there is nothing to do.

mod mappings;

use std::{fs, io};

use rustix::mm::{Advice, madvise};

/// Gives back what the allocator holds free, and lets go of the pages of the program's own code and constants: those that are still used are
/// mapped again from the page cache, one page fault for 16 of them; what only the start or the last load needed is not. Takes a few
/// milliseconds.
///
/// # Errors
/// `/proc` can't be read, or the kernel refuses.
pub fn give_back() -> io::Result<()> {
    trim_heap();
    let program = fs::read_link("/proc/self/exe")?;
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    for mapping in mappings::unwritten(&smaps, &program.to_string_lossy()) {
        let length = mapping.end - mapping.start;
        let start = std::ptr::with_exposed_provenance_mut(mapping.start);
        // SAFETY: A private mapping of the program's own file, which can't be written to and of which no page was ever written, so each page
        // is what the file holds. The kernel forgets that the pages are mapped and maps the same ones at the next access: nobody sees a
        // difference. Mappings of the program file stay where the loader has put them, with the protection that it gave them, until the
        // process ends; the file itself can't be written to while it runs (ETXTBSY), and one that takes its name is another file.
        #[expect(unsafe_code, reason = "advice that is not just advice has no safe form")]
        unsafe { madvise(start, length, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

#[cfg(target_env = "gnu")]
fn trim_heap() {
    // SAFETY: It may be called at any time from any thread: it takes the locks of the allocator, and gives back free pages only.
    #[expect(unsafe_code, reason = "a function of the C library")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim_heap() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of files that are mapped and in memory.
    fn mapped() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn code_that_is_not_used_is_let_go_and_all_goes_on() {
        let program = fs::read("/proc/self/exe").expect("the program");
        let before = mapped();
        give_back().expect("given back");
        assert!(mapped() < before, "{} KiB of {before} KiB are still there", mapped());
        // Code and constants are what they were.
        assert_eq!(fs::read("/proc/self/exe").expect("the program"), program);
        assert_eq!(format!("{:?}", [1.5, 2.25]), "[1.5, 2.25]");
    }
}
