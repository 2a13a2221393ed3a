// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The pair on disk: what is kept, what is replaced, what a kill leaves.

use time::macros::datetime;

use super::super::Fingerprint;
use super::*;

const NOW: OffsetDateTime = datetime!(2026-07-01 12:00 UTC);

fn account(name: &str) -> AccountKey {
    let pem = match name {
        "rsa" => include_str!("testdata/rsa.openssh"),
        _ => include_str!("testdata/p256.openssh"),
    };
    AccountKey::parse(pem.as_bytes()).unwrap()
}

struct Place {
    _folder: tempfile::TempDir,
    paths: CertPaths,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let at = |name| folder.path().join("cmon").join(name);
    let paths =
        CertPaths { key: at("key.pem"), cert: at("cert.pem"), owner: None };
    Place { _folder: folder, paths }
}

impl Place {
    fn ensure(&self) -> Ensured {
        self.ensure_as("rsa", "admin", NOW).unwrap()
    }

    fn ensure_as(
        &self,
        key: &str,
        login: &str,
        now: OffsetDateTime,
    ) -> Result<Ensured, CertgenError> {
        ensure(&self.paths, &account(key), login, now)
    }

    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (
            fs::read(&self.paths.key).unwrap(),
            fs::read(&self.paths.cert).unwrap(),
        )
    }

    fn names(&self) -> Vec<String> {
        let folder = folder_of(&self.paths.key);
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A usable pair is in force.
    fn assert_good(&self, key: &str, login: &str, now: OffsetDateTime) {
        let account = account(key);
        let found = look(&self.paths, &account).unwrap().found;
        let fingerprint: Fingerprint = account.md5_fingerprint();
        let reason = cert::needs_renewal(&found, &fingerprint, login, now);
        assert_eq!(reason, None);
        for path in [&self.paths.key, &self.paths.cert] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
        }
        assert_eq!(self.names(), [".key.pem.lock", "cert.pem", "key.pem"]);
    }
}

#[test]
fn makes_the_pair_once_and_then_only_looks() {
    let place = place();
    let first = place.ensure();
    assert!(first.changed);
    assert_eq!(first.reason, Some(RenewalReason::Missing));
    place.assert_good("rsa", "admin", NOW);
    let (bytes, seen) = (place.bytes(), fs::metadata(&place.paths.cert));
    let second = place.ensure();
    assert_eq!(second.info, first.info);
    assert!(!second.changed);
    assert_eq!(place.bytes(), bytes);
    let inode = |seen: io::Result<fs::Metadata>| seen.unwrap().ino();
    assert_eq!(inode(fs::metadata(&place.paths.cert)), inode(seen));
}

#[test]
fn renewal_keeps_the_key_and_replaces_the_certificate() {
    let place = place();
    place.ensure();
    let (key, cert) = place.bytes();
    let later = NOW + time::Duration::days(250);
    let renewed = place.ensure_as("rsa", "admin", later).unwrap();
    assert!(matches!(renewed.reason, Some(RenewalReason::Ending(_))));
    let (key_now, cert_now) = place.bytes();
    assert_eq!(key_now, key);
    assert_ne!(cert_now, cert);
    place.assert_good("rsa", "admin", later);
}

#[test]
fn follows_account_key_login_and_clock() {
    let place = place();
    place.ensure();
    let earlier = NOW - time::Duration::days(2);
    for (key, login, now, wanted) in [
        ("p256", "admin", NOW, "signed by another account key"),
        ("p256", "poseidon", NOW, "made for another login"),
        ("p256", "poseidon", earlier, "not valid before"),
    ] {
        let ensured = place.ensure_as(key, login, now).unwrap();
        let reason = ensured.reason.unwrap().to_string();
        assert!(reason.starts_with(wanted), "{reason}");
        place.assert_good(key, login, now);
        assert!(!place.ensure_as(key, login, now).unwrap().changed);
    }
}

/// Brings the files into a state, then one run mends it.
fn mended(spoil: impl FnOnce(&CertPaths)) -> String {
    let place = place();
    place.ensure();
    spoil(&place.paths);
    let ensured = place.ensure();
    assert!(ensured.changed);
    place.assert_good("rsa", "admin", NOW);
    ensured.reason.unwrap().to_string()
}

#[test]
fn mends_whatever_a_kill_or_a_hand_left() {
    let reason = mended(|paths| fs::remove_file(&paths.cert).unwrap());
    assert_eq!(reason, "missing");
    let reason = mended(|paths| fs::remove_file(&paths.key).unwrap());
    assert_eq!(reason, "missing");
    // Killed after the key's rename: an old certificate, or none.
    let other = || {
        let issued =
            cert::issue(&account("rsa"), "admin", DEFAULT_LIFETIME, NOW);
        issued.unwrap().key_pem.expose().clone()
    };
    let reason = mended(|paths| fs::write(&paths.key, other()).unwrap());
    assert_eq!(reason, "the key does not fit the certificate");
    // Killed while staging.
    let reason = mended(|paths| {
        fs::remove_file(&paths.cert).unwrap();
        fs::write(beside(&paths.cert, ".new"), "half a cert").unwrap();
        fs::write(beside(&paths.key, ".new"), other()).unwrap();
    });
    assert_eq!(reason, "missing");
    // Torn or foreign contents.
    for content in [&b""[..], b"rubbish", b"-----BEGIN CERTIFICATE-----\nMII"] {
        let reason = mended(|paths| fs::write(&paths.cert, content).unwrap());
        assert!(reason.contains("cert.pem: unreadable"), "{reason}");
        let reason = mended(|paths| fs::write(&paths.key, content).unwrap());
        assert!(reason.contains("key.pem: no private key"), "{reason}");
    }
    let reason =
        mended(|paths| fs::write(&paths.key, vec![b'x'; 100_000]).unwrap());
    assert!(reason.contains("longer than 64 KiB"), "{reason}");
}

#[test]
fn sees_a_certificate_whose_signature_was_tampered_with() {
    let reason = mended(|paths| {
        // The right issuer name over another signer's signature.
        let pem = fs::read_to_string(&paths.cert).unwrap();
        let mut der =
            super::super::container::read_block(pem.as_bytes(), "CERTIFICATE")
                .unwrap();
        let last = der.len() - 1;
        der[last] ^= 1;
        let body = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &der,
        );
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
        );
        fs::write(&paths.cert, pem).unwrap();
    });
    assert_eq!(reason, "the signature does not verify");
}

#[test]
fn replaces_a_symbolic_link_and_leaves_its_target_alone() {
    let place = place();
    place.ensure();
    let target = place.paths.key.with_file_name("../elsewhere");
    fs::write(&target, "someone else's").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(&place.paths.key).unwrap();
    std::os::unix::fs::symlink(&target, &place.paths.key).unwrap();
    let reason = place.ensure().reason.unwrap().to_string();
    assert!(reason.contains("a symbolic link"), "{reason}");
    place.assert_good("rsa", "admin", NOW);
    assert_eq!(fs::read_to_string(&target).unwrap(), "someone else's");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn mends_the_mode_without_calling_it_a_change() {
    let place = place();
    place.ensure();
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&place.paths.key, open).unwrap();
    assert!(!place.ensure().changed);
    place.assert_good("rsa", "admin", NOW);
}

#[test]
fn gives_both_files_to_the_daemon() {
    let mut place = place();
    let own = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    // Only root can give files away; others can at least name themselves.
    let owner = if own.0 == 0 { (65_534, 65_534) } else { own };
    place.paths.owner = Some(owner);
    let owners = |place: &Place| {
        [&place.paths.key, &place.paths.cert].map(|path| {
            let seen = fs::metadata(path).unwrap();
            (seen.uid(), seen.gid())
        })
    };
    place.ensure();
    assert_eq!(owners(&place), [owner, owner]);
    std::os::unix::fs::chown(&place.paths.key, Some(own.0), Some(own.1))
        .unwrap();
    assert!(!place.ensure().changed);
    assert_eq!(owners(&place), [owner, owner]);
}

#[test]
fn stands_back_while_another_process_writes() {
    let place = place();
    place.ensure();
    let held = lock(&place.paths.key).unwrap();
    // Nothing to do: no lock needed.
    assert!(!place.ensure().changed);
    let error = place.ensure_as("p256", "admin", NOW).unwrap_err();
    assert!(matches!(error, CertgenError::Busy { .. }), "{error}");
    place.assert_good("rsa", "admin", NOW);
    drop(held);
    assert!(place.ensure_as("p256", "admin", NOW).unwrap().changed);
}

#[test]
fn a_failed_write_leaves_the_pair_in_force() {
    let place = place();
    place.ensure();
    let before = place.bytes();
    // A folder where the staged file belongs cannot be removed as a file.
    let staged = beside(&place.paths.cert, ".new");
    fs::create_dir(&staged).unwrap();
    let error = place.ensure_as("p256", "admin", NOW).unwrap_err();
    assert!(matches!(error, CertgenError::Io { .. }), "{error}");
    assert!(error.to_string().contains(".cert.pem.new"), "{error}");
    assert_eq!(place.bytes(), before);
    fs::remove_dir(&staged).unwrap();
    assert!(place.ensure_as("p256", "admin", NOW).unwrap().changed);
}
