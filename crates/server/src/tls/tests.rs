//! Certificates change while the service runs.

use rcgen::CertifiedKey;
use tempfile::TempDir;

use super::*;

fn write(directory: &TempDir) -> (PathBuf, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (certificate, key) = (directory.path().join("tls.pem"), directory.path().join("tls.key"));
    fs::write(&certificate, cert.pem()).expect("written");
    fs::write(&key, signing_key.serialize_pem()).expect("written");
    (certificate, key)
}

#[test]
fn a_changed_certificate_is_taken_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = write(&directory);
    let certificates = Certificates::open(&certificate, &key).expect("right");
    let first = certificates.current.load_full();
    assert_eq!(certificates.reload(), Ok(false));

    fs::write(&certificate, "broken").expect("written");
    assert!(certificates.reload().expect_err("broken").contains("tls.certificate"));
    assert!(Arc::ptr_eq(&first, &certificates.current.load_full()), "the old one stays in use");
    assert_eq!(certificates.reload(), Ok(false), "told once");

    write(&directory);
    assert_eq!(certificates.reload(), Ok(true));
    assert!(!Arc::ptr_eq(&first, &certificates.current.load_full()));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = write(&directory);
    let old = fs::read(&key).expect("read");
    write(&directory);
    fs::write(&key, old).expect("written");
    let error = Certificates::open(&certificate, &key).err().expect("refused");
    assert!(error.contains("do not fit"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, _) = write(&directory);
    let error = Certificates::open(&certificate, &directory.path().join("none.key")).err().expect("refused");
    assert!(error.contains("tls.key") && error.contains("none.key"), "{error}");
}
