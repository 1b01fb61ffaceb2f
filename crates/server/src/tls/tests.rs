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
    assert!(error.contains("do not fit") && !error.contains("KeyMismatch"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, _) = write(&directory);
    let error = Certificates::open(&certificate, &directory.path().join("none.key")).err().expect("refused");
    assert!(error.contains("tls.key") && error.contains("none.key"), "{error}");
}

#[test]
fn a_key_with_a_passphrase_is_called_encrypted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = write(&directory);
    fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .expect("written");
    let error = Certificates::open(&certificate, &key).err().expect("refused");
    assert!(error.contains("tls.key") && error.contains("is encrypted"), "{error}");
}

#[test]
fn a_file_that_stays_missing_is_told_of_once_and_again_when_it_was_there_meanwhile() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = write(&directory);
    let certificates = Certificates::open(&certificate, &key).expect("right");
    let away = directory.path().join("away");
    for _ in 0..2 {
        fs::rename(&key, &away).expect("moved");
        assert!(certificates.news(certificates.reload().err()).is_some());
        assert_eq!(certificates.news(certificates.reload().err()), None);
        fs::rename(&away, &key).expect("moved");
        assert_eq!(certificates.news(certificates.reload().err()), None);
    }
}
