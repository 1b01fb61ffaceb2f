use super::*;

/// What `path` is after each of many cuts of the disk that `steps` leave.
fn after_cuts(path: &str, steps: impl Fn(&mut Disk)) -> BTreeSet<Option<String>> {
    let outcome = |seed| {
        let mut disk = Disk::new(seed);
        steps(&mut disk);
        disk.cut().0.text(path)
    };
    (0..200).map(outcome).collect()
}

fn file(disk: &mut Disk, parent: u64, name: &str, text: &str) -> u64 {
    let number = disk.make(parent, OsStr::new(name), Sort::File, 0o644, (0, 0)).expect("free");
    disk.write(number, 0, text.as_bytes()).expect("written");
    number
}

fn one_of(outcomes: &[Option<&str>]) -> BTreeSet<Option<String>> {
    outcomes.iter().map(|text| text.map(ToOwned::to_owned)).collect()
}

#[test]
fn a_file_survives_when_it_and_its_directory_were_synced() {
    let found = after_cuts("a", |disk| {
        let number = file(disk, ROOT, "a", "text");
        disk.sync(number).expect("synced");
        disk.sync(ROOT).expect("synced");
    });
    assert_eq!(found, one_of(&[Some("text")]));
}

#[test]
fn a_synced_file_may_be_gone_when_its_directory_was_not_synced() {
    let found = after_cuts("a", |disk| {
        let number = file(disk, ROOT, "a", "text");
        disk.sync(number).expect("synced");
    });
    assert_eq!(found, one_of(&[None, Some("text")]));
}

#[test]
fn the_bytes_of_a_file_that_was_not_synced_may_be_gone_although_its_name_is_there() {
    let found = after_cuts("a", |disk| {
        file(disk, ROOT, "a", "text");
        disk.sync(ROOT).expect("synced");
    });
    assert!(found.is_superset(&one_of(&[Some(""), Some("text"), Some("\0\0\0\0")])), "{found:?}");
    assert!(!found.contains(&None));
}

#[test]
fn a_directory_that_was_synced_is_gone_when_the_one_above_was_not() {
    let found = after_cuts("d/a", |disk| {
        let folder = disk.make(ROOT, OsStr::new("d"), Sort::Folder, 0o755, (0, 0)).expect("free");
        let number = file(disk, folder, "a", "text");
        disk.sync(number).expect("synced");
        disk.sync(folder).expect("synced");
    });
    assert_eq!(found, one_of(&[None, Some("text")]));
}

#[test]
fn a_rename_without_a_synced_directory_may_be_undone_and_is_never_half_done() {
    let steps = |disk: &mut Disk| {
        let old = file(disk, ROOT, "a", "old");
        let new = file(disk, ROOT, "draft", "new");
        for number in [old, new, ROOT] {
            disk.sync(number).expect("synced");
        }
        disk.rename((ROOT, OsStr::new("draft")), (ROOT, OsStr::new("a")), false).expect("renamed");
    };
    assert_eq!(after_cuts("a", steps), one_of(&[Some("old"), Some("new")]));
    let synced = after_cuts("a", |disk| {
        steps(disk);
        disk.sync(ROOT).expect("synced");
    });
    assert_eq!(synced, one_of(&[Some("new")]));
}

#[test]
fn a_removal_without_a_synced_directory_may_be_undone() {
    let steps = |disk: &mut Disk| {
        let number = file(disk, ROOT, "a", "text");
        disk.sync(number).expect("synced");
        disk.sync(ROOT).expect("synced");
        disk.remove(ROOT, OsStr::new("a"), false).expect("removed");
    };
    assert_eq!(after_cuts("a", steps), one_of(&[None, Some("text")]));
    let synced = after_cuts("a", |disk| {
        steps(disk);
        disk.sync(ROOT).expect("synced");
    });
    assert_eq!(synced, one_of(&[None]));
}

#[test]
fn what_was_removed_is_forgotten_and_what_could_come_back_is_not() {
    let mut disk = Disk::new(1);
    let kept = file(&mut disk, ROOT, "kept", "text");
    disk.sync(kept).expect("synced");
    disk.sync(ROOT).expect("synced");
    disk.remove(ROOT, OsStr::new("kept"), false).expect("removed");
    let held = file(&mut disk, ROOT, "held", "open");
    disk.opened(held).expect("there");
    disk.remove(ROOT, OsStr::new("held"), false).expect("removed");
    let folder = disk.make(ROOT, OsStr::new("d"), Sort::Folder, 0o755, (0, 0)).expect("free");
    for _ in 0..2 * SWEEP {
        file(&mut disk, folder, "brief", "gone");
        disk.remove(folder, OsStr::new("brief"), false).expect("removed");
        disk.sync(folder).expect("synced");
    }
    assert!(disk.nodes.len() < SWEEP as usize, "{} are remembered", disk.nodes.len());
    assert!(disk.read(held, 0, 9).is_ok() && disk.read(kept, 0, 9).is_ok());
}

#[test]
fn equal_seeds_make_equal_cuts() {
    let run = || {
        let mut disk = Disk::new(42);
        for name in ["a", "b", "c", "d", "e"] {
            file(&mut disk, ROOT, name, "text");
        }
        let (left, remains) = disk.cut();
        (["a", "b", "c", "d", "e"].map(|name| left.text(name)), remains.to_string())
    };
    assert_eq!(run(), run());
}
