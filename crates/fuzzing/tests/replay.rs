//! Every input that libFuzzer kept, and every one that ever broke something, on every run of the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roadstead_fuzzing::{TARGETS, Target};

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("a file").path()).collect()
}

fn replay(name: &str, target: Target) {
    let corpus = inputs("corpus", name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    for file in corpus.into_iter().chain(inputs("regressions", name)) {
        let input = fs::read(&file).expect("an input");
        // Shown when the target panics.
        println!("{}", file.display());
        target(&input);
    }
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), roadstead_fuzzing::$name);
            }
        )+

        /// A target without a program, a corpus or a place in this file is one that nobody runs.
        #[test]
        fn every_target_is_replayed_and_has_its_program() {
            let mut here = vec![$(stringify!($name)),+];
            here.sort_unstable();
            assert_eq!(here, TARGETS.map(|(name, _)| name));
            for (name, _) in TARGETS {
                let program = format!("{}/../../fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                assert!(Path::new(&program).is_file(), "{program} is missing");
            }
        }
    };
}

targets!(authorization, config, content_range, manifest, range, route, scope);
