// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn bytes(paths: &ServerPaths) -> (Vec<u8>, Vec<u8>) {
    (fs::read(&paths.key).unwrap(), fs::read(&paths.cert).unwrap())
}

/// A pair as an operator would bring it.
fn operators(paths: &ServerPaths, names: &[&str], end: OffsetDateTime) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(self::names(names)).unwrap();
    params.not_after = end;
    fs::create_dir_all(folder_of(&paths.key)).unwrap();
    fs::write(&paths.key, key.serialize_pem()).unwrap();
    fs::write(&paths.cert, params.self_signed(&key).unwrap().pem()).unwrap();
}

#[test]
fn made_once_with_all_names_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(&dir.path().join("tls"));
    let wanted = names(&["Grafana.dc1.t.test", "192.0.2.1", "fd00::1"]);
    let made = ensure_server(&paths, &wanted, NOW).unwrap();
    assert!(made.ours && made.changed);
    assert_eq!(made.not_after, NOW + LIFETIME);
    let before = bytes(&paths);
    let mode = fs::metadata(&paths.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let der = container::read_block(&before.1, "CERTIFICATE").unwrap();
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    assert!(cert.verify_signature(None).is_ok());
    let certified: Vec<String> = certified_names(&cert).into_iter().collect();
    assert_eq!(certified, ["192.0.2.1", "fd00::1", "grafana.dc1.t.test"]);
    let again = ensure_server(&paths, &wanted, NOW).unwrap();
    assert!(again.ours && !again.changed);
    assert_eq!(bytes(&paths), before);
}

#[test]
fn the_end_of_any_certificate_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(dir.path());
    let error = |path: &Path| ends(path).unwrap_err().to_string();
    assert!(error(&paths.cert).contains("the file is not there"));
    operators(&paths, &["a.test"], NOW + Duration::DAY);
    assert_eq!(ends(&paths.cert).unwrap(), [NOW + Duration::DAY]);
    assert!(error(&paths.key).contains("is no certificate: saw"));
}

#[test]
fn ours_is_renewed_under_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(dir.path());
    let wanted = names(&["a.test"]);
    ensure_server(&paths, &wanted, NOW).unwrap();
    let (key, cert) = bytes(&paths);
    let late = NOW + LIFETIME - ENDING;
    let renewed = ensure_server(&paths, &wanted, late).unwrap();
    assert!(renewed.changed && renewed.not_after == late + LIFETIME);
    let moved = names(&["a.test", "192.0.2.7"]);
    assert!(ensure_server(&paths, &moved, late).unwrap().changed);
    let (new_key, new_cert) = bytes(&paths);
    assert!(key == new_key && cert != new_cert);
}

#[test]
fn the_operators_pair_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(dir.path());
    let wanted = names(&["a.test"]);
    ensure_server(&paths, &wanted, NOW).unwrap();
    operators(&paths, &["b.test"], NOW + Duration::days(90));
    let before = bytes(&paths);
    let served = ensure_server(&paths, &wanted, NOW).unwrap();
    assert!(!served.ours && !served.changed && served.warnings.is_empty());
    // Ended long ago, and not for any name: said, and left.
    operators(&paths, &[], NOW - Duration::days(1));
    let served = ensure_server(&paths, &wanted, NOW).unwrap();
    assert_eq!(served.warnings.len(), 2, "{:?}", served.warnings);
    assert_ne!(bytes(&paths), before);
    let before = bytes(&paths);
    ensure_server(&paths, &wanted, NOW + LIFETIME).unwrap();
    assert_eq!(bytes(&paths), before);
    let mode = fs::metadata(&paths.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "an open key is closed");
}

#[test]
fn a_pair_that_does_not_fit_is_a_fault_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(dir.path());
    let wanted = names(&["a.test"]);
    ensure_server(&paths, &wanted, NOW).unwrap();
    let (key, cert) = bytes(&paths);
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (key, cert, why) in [
        (Some(other.as_bytes()), Some(&cert[..]), "is not the key of"),
        (None, Some(&cert[..]), "is not there"),
        (Some(&key[..]), Some(&b"nonsense"[..]), "is no certificate"),
        (Some(&key[..]), Some(&b""[..]), "is no certificate"),
        (Some(&b""[..]), Some(&cert[..]), "no private key"),
        (Some(&b""[..]), None, "no private key"),
    ] {
        for (path, content) in [(&paths.key, key), (&paths.cert, cert)] {
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
        let error = ensure_server(&paths, &wanted, NOW).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(fs::read(&paths.key).ok().as_deref(), key, "{why}");
        assert_eq!(fs::read(&paths.cert).ok().as_deref(), cert, "{why}");
    }
}

/// Killed between any two writes, the next run ends with a pair of ours.
#[test]
fn a_run_that_was_killed_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ServerPaths::new(dir.path());
    let wanted = names(&["a.test"]);
    ensure_server(&paths, &wanted, NOW).unwrap();
    // After the key; after the key and the fingerprint.
    for gone in [&[&paths.made, &paths.cert][..], &[&paths.cert]] {
        let key = fs::read(&paths.key).unwrap();
        for path in gone {
            fs::remove_file(path).unwrap();
        }
        let served = ensure_server(&paths, &wanted, NOW).unwrap();
        assert!(served.ours && served.changed);
        assert_eq!(fs::read(&paths.key).unwrap(), key);
        let again = ensure_server(&paths, &wanted, NOW).unwrap();
        assert!(again.ours && !again.changed);
    }
}
